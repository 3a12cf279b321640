"""The Typer app and `main`: the one place where an error becomes an exit code."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from guardian_cli import __version__
from guardian_cli.commands._options import CONFIG, DEBUG, QUIET, Common
from guardian_cli.commands.compare import compare
from guardian_cli.commands.deploy import deploy
from guardian_cli.commands.doctor import doctor
from guardian_cli.commands.endpoints import endpoints, fill_file
from guardian_cli.commands.evaluate import evaluate
from guardian_cli.commands.merge import merge
from guardian_cli.commands.monitor import monitor
from guardian_cli.commands.replay import replay
from guardian_cli.commands.report import report
from guardian_cli.commands.retrain import retrain
from guardian_cli.commands.rollback import rollback
from guardian_cli.commands.scan import scan
from guardian_cli.commands.setup import setup
from guardian_cli.commands.train import train
from guardian_cli.console import Console, PipeClosed
from guardian_cli.errors import GuardianError, UsageError, machine_limit

BUG_HINT = "this is a bug in guardian; run it again with --debug and report what it prints"
EXIT_BUG = 1
EXIT_INTERRUPTED = 130
# 128 + SIGPIPE, as of any tool whose reader went away: no verdict is claimed.
EXIT_PIPE_CLOSED = 141
_WRITE_FAILED = frozenset({errno.ENOSPC, errno.EIO, errno.EBADF})


# Typer's rich help has panels for this, and takes twice as long to begin.
class GroupedHelp(TyperGroup):
    """Help that lists the verbs in groups."""

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
EVIDENCE = "Evidence, and decisions that can be looked at again"
WATCHING = "Watching models, and renewing them"
MACHINES = "More than one machine"
SUPPORT = "When something is missing"
for verb in (scan, setup, train, deploy, endpoints, rollback):
    app.command(rich_help_panel=MAIN_JOB)(verb)
for verb in (evaluate, replay, compare, report):
    app.command(rich_help_panel=EVIDENCE)(verb)
for verb in (monitor, retrain):
    app.command(rich_help_panel=WATCHING)(verb)
app.command(rich_help_panel=MACHINES)(merge)
app.command(rich_help_panel=SUPPORT)(doctor)


def print_and_exit(param: typer.CallbackParam, value: bool | str | None) -> None:
    """Print what an option of guardian itself asks for, and end; do nothing where it is not set."""
    if value in {None, False}:
        return
    text = f"guardian {__version__}"
    if param.name == "schema":
        from guardian_cli.reports.schemas import schema_text

        text = schema_text(str(value))
    elif param.name == "example":
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
            "--version", help="Print the version.", is_eager=True, callback=print_and_exit
        ),
    ] = False,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="NAME",
            help="Print the JSON Schema of a document, e.g. `scan`.",
            is_eager=True,
            callback=print_and_exit,
        ),
    ] = None,
    example: Annotated[
        bool,
        typer.Option(
            "--example-config",
            help="Print a guardian.yaml with every key at its default.",
            is_eager=True,
            callback=print_and_exit,
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
    # A write that failed fails here again.
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()
        sys.stderr.flush()
    # Everything is written and closed by now; a library's thread that still runs would abort the
    # interpreter's own way out, and its exit code with it.
    os._exit(code)


def run(args: list[str]) -> int:
    """Run guardian with these arguments and return its exit code; never raises."""
    try:
        # Without a word guardian shows its help, as gh and kubectl do.
        code: Any = app(fill_file(args) or ["--help"], prog_name="guardian", standalone_mode=False)
    except PipeClosed:
        return EXIT_PIPE_CLOSED
    except SystemExit as error:
        return end_of_exit(error, args)
    except (KeyboardInterrupt, typer.Abort):
        code = EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug must end as one line and exit code 1
        return fail(error, args)
    if code == EXIT_INTERRUPTED:
        Console().note("interrupted")
    return code if isinstance(code, int) else 0


def end_of_exit(error: SystemExit, args: list[str]) -> int:
    """Return the exit code of a SystemExit: Typer raises some, and so may a library."""
    broken = error.__context__
    if isinstance(broken, BrokenPipeError):
        # Typer makes SystemExit(1) of any broken pipe, its own help text's or one far below.
        if not _in_typer(broken):
            return fail(broken, args)
        return EXIT_PIPE_CLOSED
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    return fail(RuntimeError(error.code), args)


def fail(error: Exception, args: list[str]) -> int:
    """Say what went wrong in one line, with a hint, and return the exit code."""
    if "--debug" in args:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, OSError) and error.errno in _WRITE_FAILED and _in_typer(error):
        message = f"the result could not be written: {error.strerror}"
        error = UsageError(message, hint="guardian … > FILE")
    elif not isinstance(error, GuardianError | typer.TyperException):
        error = machine_limit(error) or error
    verbs = {str(getattr(one.callback, "__name__", "")) for one in app.registered_commands}
    verb = next((f"{arg} " for arg in args if arg in verbs), "")
    message, hint, code = str(error), f"guardian {verb}--help", EXIT_BUG
    if isinstance(error, GuardianError):
        hint, code = error.hint or hint, error.exit_code
    elif isinstance(error, typer.TyperException):
        # Without Pydantic's words, which Typer passes on.
        message = error.format_message().replace(": Value error, ", ": ", 1)
        code = error.exit_code
    else:
        message, hint = f"unexpected {type(error).__name__}: {message}", BUG_HINT
    Console().error(message, hint)
    return code


def _in_typer(error: BaseException) -> bool:
    """Whether Typer itself met the error, which writes help texts and completions."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__")).startswith("typer")
