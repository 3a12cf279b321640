"""The other end of `driver.py`: one process with the real SDK for all tests of a session."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.azure_loopback.azure import LoopbackAzure


class SdkError(Exception):
    """What the SDK raised."""

    def __init__(self, kind: str, status: int | None, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.status = status


class Sdk:
    """Does one step after the other."""

    def __init__(self) -> None:
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AZURE", "MLFLOW", "IDENTITY", "MSI"))
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-W", "ignore", str(Path(__file__).with_name("driver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=clean,
            text=True,
        )

    def do(self, azure: LoopbackAzure, step: str, **arguments: Any) -> Any:
        """Do a step against a stand-in; its result. Raises SdkError."""
        return self.do_as(azure.environment(), azure, step, **arguments)

    def do_as(
        self, environment: Mapping[str, str], azure: LoopbackAzure, step: str, **arguments: Any
    ) -> Any:
        """The same with an environment of one's own."""
        home = azure.folder / "home"
        home.mkdir(exist_ok=True)
        order = {
            "environment": {**environment, "HOME": str(home)},
            "folder": str(home),
            "step": step,
            "arguments": arguments,
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise SdkError(answer["error"], answer["status"], answer["message"])
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self._process.wait(30)
