"""The Typer app and `main`: the one place where an error becomes an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import tempfile
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from guardian_cli import __version__
from guardian_cli.commands._options import CONFIG, DEBUG, QUIET, Common
from guardian_cli.commands.deploy import deploy
from guardian_cli.commands.doctor import doctor
from guardian_cli.commands.endpoints import endpoints, fill_file
from guardian_cli.commands.rollback import rollback
from guardian_cli.commands.scan import scan
from guardian_cli.commands.setup import setup
from guardian_cli.commands.train import train
from guardian_cli.console import Console, PipeClosed, silence_streams
from guardian_cli.errors import GuardianError, UsageError

BUG_HINT = "this is a bug in guardian; run it again with --debug and report what it prints"
EXIT_BUG = 1
EXIT_INTERRUPTED = 130
# 128 + SIGPIPE, as of any tool whose reader went away: no verdict is claimed.
EXIT_PIPE_CLOSED = 141


class GroupedHelp(TyperGroup):
    """Help that lists the verbs in groups, as the panels of Typer's rich help do in colour."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a section for each group, in the order in which they were added."""
        groups: dict[str, list[Any]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            groups.setdefault(command.rich_help_panel, []).append(command)
        for title, commands in groups.items():
            with formatter.section(title):
                formatter.write_dl([(one.name, one.get_short_help_str(60)) for one in commands])


app = typer.Typer(
    name="guardian",
    cls=GroupedHelp,
    help="Decide about videos that other people upload: allow, review or block, with evidence.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
MAIN_JOB = "The main job"
SUPPORT = "When something is missing"
for verb in (scan, setup, train, deploy, endpoints, rollback):
    app.command(rich_help_panel=MAIN_JOB)(verb)
app.command(rich_help_panel=SUPPORT)(doctor)


def _print_version(value: bool) -> None:
    if value:
        Console().result(f"guardian {__version__}")
        raise typer.Exit


def _print_schema(name: str | None) -> None:
    if name is not None:
        from guardian_cli.reports.schemas import schema_text

        Console().result(schema_text(name))
        raise typer.Exit


def _print_example(value: bool) -> None:
    if value:
        from importlib.resources import files

        text = (files("guardian_cli") / "guardian.yaml.example").read_text(encoding="utf-8")
        Console().result(text)
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="NAME",
            help="Print the JSON Schema of a document, e.g. `scan`.",
            is_eager=True,
            callback=_print_schema,
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            "--example-config",
            help="Print a guardian.yaml with every key at its default.",
            is_eager=True,
            callback=_print_example,
        ),
    ] = False,
    config: CONFIG = None,
    quiet: QUIET = False,
    debug: DEBUG = False,
) -> None:
    context.obj = Common(config=config, quiet=quiet)


def main(args: list[str] | None = None) -> None:
    """Run guardian and end the process with an exit code of the contract."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run(sys.argv[1:] if args is None else args)
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything is written and closed by now; a library's thread that still runs would abort the
    # interpreter's own way out, and its exit code with it.
    os._exit(code)


def run(args: list[str]) -> int:
    """Run guardian with these arguments and return its exit code; never raises."""
    console = Console()
    try:
        # Without a word guardian shows its help, as gh and kubectl do.
        code: Any = app(fill_file(args) or ["--help"], prog_name="guardian", standalone_mode=False)
    except GuardianError as error:
        return _fail(console, args, error, error.hint, error.exit_code)
    except typer.TyperException as error:
        return _fail(console, args, error, None, error.exit_code)
    except PipeClosed:
        silence_streams(sys.stdout)
        return EXIT_PIPE_CLOSED
    except SystemExit as error:
        return _leave(console, args, error)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug must end as one line and exit code 1
        known = _limit_of_this_machine(error)
        if known is not None:
            return _fail(console, args, known, known.hint, known.exit_code)
        return _fail(console, args, error, BUG_HINT, EXIT_BUG)
    if code == EXIT_INTERRUPTED:
        console.note("interrupted")
    return code if isinstance(code, int) else 0


def _leave(console: Console, args: list[str], error: SystemExit) -> int:
    """The exit code of a SystemExit: Typer raises some, and so may a library."""
    broken = error.__context__
    if isinstance(broken, BrokenPipeError):
        # Typer makes SystemExit(1) of any broken pipe, its own help text's or one far below.
        if not _in_typer(broken):
            return _fail(console, args, broken, BUG_HINT, EXIT_BUG)
        silence_streams(sys.stdout)
        return EXIT_PIPE_CLOSED
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    return _fail(console, args, RuntimeError(error.code), BUG_HINT, EXIT_BUG)


def _in_typer(error: BaseException) -> bool:
    """Whether Typer itself met the error, which writes help texts and completions."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("typer")


def _limit_of_this_machine(error: Exception) -> UsageError | None:
    """What is wrong with the disk or the limits that guardian runs under; None for all else."""
    number = error.errno if isinstance(error, OSError) else None
    reason = getattr(error, "strerror", None) or str(error)
    if number in {errno.ENOSPC, errno.EIO, errno.EBADF} and _in_typer(error):
        return UsageError(f"the result could not be written: {reason}", hint="guardian … > FILE")
    if number in {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}:
        place = getattr(error, "filename", None) or tempfile.gettempdir()
        hint = "df -h; TMPDIR=FOLDER guardian … puts temporary files elsewhere"
        return UsageError(f"nothing could be written to {place}: {reason}", hint=hint)
    if number in {errno.EMFILE, errno.ENFILE}:
        return UsageError(f"no more files may be open: {reason}", hint="ulimit -n 4096")
    # Python, ONNX Runtime and OpenMP each have words of their own for a thread that was refused.
    refused = ("can't start new thread", "pthread_create failed", os.strerror(errno.EAGAIN))
    if number == errno.EAGAIN or any(words in str(error) for words in refused):
        message = "no more processes or threads may be started (ulimit -u says how many)"
        return UsageError(message, hint="ulimit -u 4096; in a container, a higher --pids-limit")
    return None


def _fail(console: Console, args: list[str], error: Exception, hint: str | None, code: int) -> int:
    if "--debug" in args:
        traceback.print_exception(error, file=sys.stderr)
    message = error.format_message() if isinstance(error, typer.TyperException) else str(error)
    if code == EXIT_BUG:
        message = f"unexpected {type(error).__name__}: {message}"
    # Pydantic's words, as Typer passes them on.
    message = message.replace(": Value error, ", ": ", 1)
    console.error(message, hint or f"guardian {_verb(args)}--help")
    # A write to stdout that failed would fail again, loudly, when the interpreter flushes.
    silence_streams(sys.stdout)
    return code


def _verb(args: list[str]) -> str:
    names = {
        command.name or getattr(command.callback, "__name__", "")
        for command in app.registered_commands
    }
    return next((f"{arg} " for arg in args if arg in names), "")
