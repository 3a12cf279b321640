"""guardian as its users have it: a process with arguments, streams and an exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from guardian_cli.reports.schemas import load_schema

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

COMMAND = (sys.executable, "-m", "guardian_cli")


@dataclass(frozen=True)
class Run:
    """What came of a run."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout, checked against its schema."""
        document = json.loads(self.out)
        Draft202012Validator(load_schema("scan")).validate(document)
        return document

    @property
    def scan(self) -> Any:
        """The document's only element."""
        (scan,) = self.document["scans"]
        return scan

    @property
    def lines(self) -> list[Any]:
        """The JSON lines on stdout, checked against the schema."""
        lines = [json.loads(line) for line in self.out.splitlines()]
        for line in lines:
            Draft202012Validator(load_schema("scan")).validate(line)
        return lines


def environment(folder: Path, **more: str) -> dict[str, str]:
    """An environment without settings of whoever runs the tests, and with a home of its own."""
    ours = ("_MODEL_ENDPOINT", "_MODEL_ENDPOINT_KEY")
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GUARDIAN_", "AZURE_", "HF_", "MLFLOW_", "MODEL_ENDPOINT"))
        and not name.endswith(ours)
    }
    # The hub is not for tests: whatever needs it is told so at once, also where there is internet.
    defaults = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    return {**clean, **defaults, **more}


def guardian(*arguments: str | Path, folder: Path, stdin: str | None = None, **more: str) -> Run:
    """Run guardian to its end in `folder`; `more` is for its environment."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        cwd=folder,
        env=environment(folder, **more),
        input=stdin,
        stdin=None if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    # What a container wrote is quoted, and indented.
    assert not re.search(r"^Traceback", done.stderr, re.MULTILINE), done.stderr
    return Run(done.returncode, done.stdout, done.stderr)


def restore_interrupts() -> None:
    """Let Ctrl-C through: a suite run in the background passes on that it is ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def tiny_options(tiny: TinyClip) -> list[str]:
    """The options that put the tiny CLIP in the place of the default one."""
    return [
        *("--model", tiny.name),
        *("--model-config", str(tiny.config)),
        *("--pretrained", str(tiny.checkpoint)),
    ]


def write_settings(folder: Path, tiny: TinyClip, more: str = "") -> None:
    """A guardian.yaml whose only category, nsfw, is a red star."""
    prompts = {"positive": list(tiny.positive), "negative": list(tiny.negative)}
    category = {"nsfw": {"prompts": prompts}, "violence": False}
    text = f"categories: {json.dumps(category)}\n{more}"
    (folder / "guardian.yaml").write_text(text, encoding="utf-8")
