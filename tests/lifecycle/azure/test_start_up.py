"""Commands start fast: the SDK is loaded by what needs it, and by nothing else."""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.guardian_process import environment

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lifecycle.azure.conftest import Harness

LOADED = """
import sys
from guardian_cli.cli import run
code = run(sys.argv[1:])
print(code, *sorted(name for name in sys.modules if name.split(".")[0] == "azure"), file=sys.stderr)
"""


def loaded(folder: Path, *args: str, **more: str) -> tuple[int, set[str]]:
    """The exit code of a command, and which modules of azure were loaded by it."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *args], cwd=folder, env=environment(folder, **more),
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    code, *names = done.stderr.splitlines()[-1].split()
    return int(code), set(names)


@pytest.mark.parametrize(
    "command", [("--help",), ("endpoints", "--help"), ("endpoints", "--target", "local")]
)
def test_nothing_of_azure_is_loaded_before_it_is_needed(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    assert loaded(tmp_path, *command) == (0, set())


@pytest.mark.slow
def test_a_look_at_endpoints_loads_no_more_than_it_needs_and_is_quick(deployed: Harness) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ("endpoints", "--target", "azure")
    code, names = loaded(deployed.folder, *command, **deployed.azure.environment())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert code == 0
    assert "azure.identity" in names
    assert not [name for name in names if name.startswith("azure.ai")]
    # What it computes; what it waits for depends on the network, and on what else runs here.
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 2.0
