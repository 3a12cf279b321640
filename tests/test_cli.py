"""How a run ends where the reader, the disk or the machine's limits are to blame."""

from __future__ import annotations

import ast
import errno
import os
import re
import resource
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from guardian_cli.cli import app, end_of_exit
from guardian_cli.errors import machine_limit
from tests.conftest import REPOSITORY
from tests.guardian_process import COMMAND, environment, guardian

if TYPE_CHECKING:
    from pathlib import Path

STRANGER = 54321
PACKAGE = REPOSITORY / "src" / "guardian_cli"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed_with_exit_0(tmp_path: Path, shell: str) -> None:
    # Typer looks for the shell that it was started from, and a test may have none above it.
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    shown = guardian("--show-completion", shell, folder=tmp_path, **named)
    assert (shown.code, "guardian" in shown.out) == (0, True)
    assert guardian("--install-completion", shell, folder=tmp_path, **named).code == 0


def test_a_word_is_completed_with_exit_0(tmp_path: Path) -> None:
    asked = {"_GUARDIAN_COMPLETE": "complete_bash", "COMP_WORDS": "guardian sc", "COMP_CWORD": "1"}
    run = guardian(folder=tmp_path, **asked)
    assert (run.code, run.out.strip()) == (0, "scan")


@pytest.mark.parametrize(("code", "expected"), [(None, 0), (0, 0), (3, 3), ("sorry", 1)])
def test_a_system_exit_keeps_its_code(code: str | int | None, expected: int) -> None:
    assert end_of_exit(SystemExit(code), []) == expected


def test_a_broken_pipe_that_is_not_the_readers_is_no_quiet_end() -> None:
    def break_as_typer_does() -> None:
        try:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        except OSError:
            sys.exit(1)

    with pytest.raises(SystemExit) as left:
        break_as_typer_does()
    assert end_of_exit(left.value, []) == 1


@pytest.mark.parametrize("option", ["--config", "--resume", "--model-config"])
def test_a_name_that_cannot_be_asked_for_is_no_bug(tmp_path: Path, option: str) -> None:
    # Fails as a file in a closed folder does, also for root.
    run = guardian("scan", "--offline", "a.mp4", option, "x" * 300, folder=tmp_path)
    assert (run.code, "File name too long" in run.err) == (2, True)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left", "/data/x.part"), "written to /data/x.part: No"),
        (OSError(errno.EDQUOT, "Quota exceeded"), "written to the folder for temporary files"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/y"), "/x/y: Permission denied"),
        (OSError(errno.EMFILE, "Too many open files"), "no more files may be open"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "processes or threads"),
        (RuntimeError("can't start new thread"), "processes or threads"),
        (RuntimeError("env.cc:327 pthread_create failed, error code: 11"), "processes or threads"),
    ],
)
def test_a_limit_of_the_machine_is_named_and_no_bug(error: Exception, said: str) -> None:
    try:
        raise error
    except (OSError, RuntimeError) as caught:
        known = machine_limit(caught)
    assert known is not None
    assert said in str(known)
    assert known.hint
    assert "the result" not in str(known)


def test_any_other_error_is_a_bug() -> None:
    assert machine_limit(RuntimeError("no idea")) is None
    assert machine_limit(PermissionError(errno.EACCES, "denied")) is None


def as_stranger(
    folder: Path, *command: str, processes: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user whom nobody knows."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    folder.chmod(0o777)
    for parent in folder.parents[:2]:
        parent.chmod(parent.stat().st_mode | 0o011)
    # Python itself may lie in a folder of root's: reading is allowed, and nothing else.
    user = [f"--reuid={STRANGER}", f"--regid={STRANGER}", "--clear-groups"]
    may_read = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    home = environment(folder)
    del home["HOME"], home["XDG_CACHE_HOME"]

    def limit() -> None:
        if processes is not None:
            resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))

    return subprocess.run(
        ["setpriv", *user, *may_read, *command],
        cwd=folder,
        env=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limit,
    )


def test_an_unknown_user_without_a_home_gets_the_one_that_docker_gives(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from guardian_cli.__main__ import prepare_environment\n"
        "prepare_environment()\n"
        "print(Path.home())\n"  # MLflow asks this while it is imported
    )
    done = as_stranger(tmp_path, sys.executable, "-c", code)
    assert (done.returncode, done.stdout.strip()) == (0, "/"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 3])
def test_a_low_limit_of_processes_is_named_and_no_interrupt(tmp_path: Path, processes: int) -> None:
    (tmp_path / "guardian.yaml").write_text("scan: {detectors: [opennsfw]}\n", encoding="utf-8")
    (tmp_path / "x.mp4").write_bytes(b"no video")
    done = as_stranger(tmp_path, *COMMAND, "scan", "x.mp4", processes=processes)
    assert "error: no more processes or threads may be started (ulimit -u" in done.stderr
    assert "interrupted" not in done.stderr
    assert done.returncode == 2


def hints() -> list[str]:
    """All that the source gives as a hint, with … for what is filled in when it runs."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = [one.value for one in ast.walk(node) if isinstance(one, ast.Constant)]
                found.append("…".join(str(part) for part in parts))
    return found


@pytest.mark.slow
def test_hints_name_verbs_and_options_that_there_are() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)
    commands = {name: root.commands[name] for name in root.commands}
    options = {
        name: {option for one in command.params for option in one.opts}
        for name, command in [*commands.items(), ("", root)]
    }
    typed = [one for hint in hints() for one in re.findall(r"guardian ([a-z-][^,;]*)", hint)]
    assert len(typed) > 30
    for words in (one.split() for one in typed):
        verb = words[0] if words[0] in commands else ""
        if not verb and not words[0].startswith("-"):
            continue  # a sentence about guardian
        used = re.findall(r"--[a-z][a-z-]*", " ".join(words))
        known = options[verb] | options[""] | {"--help"}
        # What is filled in may be the end of an option's name.
        assert all(any(one.startswith(word) for one in known) for word in used), words
    assert not [hint for hint in hints() if re.search(r"guardian\.yaml\.example|README", hint)]
