"""guardian in front of a loopback Azure."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from guardian_cli.cli import run
from guardian_cli.lifecycle.release.history import Change, add_change
from guardian_cli.lifecycle.release.roles import (
    MODEL_TAG,
    VERSION_TAG,
    Roles,
    read_roles,
    write_roles,
)
from guardian_cli.reports.schemas import load_schema
from tests.guardian_process import COMMAND, Run, environment, guardian

if TYPE_CHECKING:
    from pathlib import Path

    from tests.azure_loopback.azure import LoopbackAzure
    from tests.azure_loopback.state import Endpoint
    from tests.lifecycle.conftest import Templates

INTERRUPTIBLE = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
MODEL = "nsfw-detector"
ENDPOINT = "nsfw-detector-endpoint"


@dataclass
class Harness:
    """Somebody who types commands in a folder, with `target: azure` set."""

    folder: Path
    azure: LoopbackAzure
    last: Run | None = None

    def type(self, *args: str, code: int = 0, **more: str) -> Run:
        """Type a command; it must end with `code`, and print no key."""
        seen = self.run(*args, **more)
        assert seen.code == code, f"{seen.code}: {seen.err}"
        for endpoint in self.azure.endpoints.values() if self.azure.workspaces else ():
            for key in (endpoint.primary_key, endpoint.secondary_key):
                assert key not in seen.out
                assert key not in seen.err
        if code:
            [line] = [one for one in seen.err.splitlines() if one.startswith("error: ")]
            assert len(line) < 900
        self.last = seen
        return seen

    def run(self, *args: str, **more: str) -> Run:
        """Run guardian in this process: to start one takes ten times as long as what it does."""
        out, err = io.StringIO(), io.StringIO()
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            patch.chdir(self.folder)
            clean = environment(self.folder, **{**self.azure.environment(), **more})
            for name in {*os.environ, *clean}:
                if name in clean:
                    patch.setenv(name, clean[name])
                else:
                    patch.delenv(name)
            code = run([*args, "--target", "azure"])
        assert not re.search(r"^Traceback", err.getvalue(), re.MULTILINE), err.getvalue()
        return Run(code, out.getvalue(), err.getvalue())

    def begin(self, *args: str) -> subprocess.Popen[str]:
        """Begin a command as a process of its own, which Ctrl-C reaches also in the background."""
        return subprocess.Popen(
            [sys.executable, "-c", INTERRUPTIBLE, *COMMAND[1:], *args, "--target", "azure"],
            cwd=self.folder,
            env=environment(self.folder, **self.azure.environment()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def scan(self, *args: str) -> Run:
        """Scan in the folder, with only the way to Azure in the environment."""
        way = {k: v for k, v in self.azure.environment().items() if not k.startswith("AZURE_")}
        return guardian("scan", *args, folder=self.folder, **way)

    def document(self, *args: str, schema: str) -> Any:
        """The one JSON document of a command, checked against its schema."""
        document = json.loads(self.type(*args, "--json").out)
        Draft202012Validator(load_schema(schema)).validate(document)
        return document

    def seen(self) -> dict[str, tuple[str | None, int]]:
        """Role and traffic of each deployment, as they stand on the endpoint itself."""
        endpoint = self.azure.endpoints.get(ENDPOINT)
        if endpoint is None:
            return {}
        roles = read_roles(endpoint.tags)
        return {
            name: (roles.of(found.tags.get(VERSION_TAG)), endpoint.traffic.get(name, 0))
            for name, found in endpoint.deployments.items()
        }

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint itself."""
        return self.azure.endpoints[ENDPOINT]


@pytest.fixture
def harness(tmp_path: Path, azure: LoopbackAzure) -> Harness:
    """A harness for a workspace that is there."""
    azure.add_workspace()
    folder = tmp_path / "project"
    folder.mkdir()
    return Harness(folder, azure)


@pytest.fixture
def registered(harness: Harness, templates: Templates) -> Harness:
    """A harness with two good versions and, as number 3, a broken one."""
    folders = (templates.good_model, templates.good_model, templates.broken_model)
    for number, folder in enumerate(folders, 1):
        harness.azure.add_model(MODEL, folder, version=str(number), tags={"auc": "0.9"})
    return harness


@pytest.fixture
def deployed(registered: Harness) -> Harness:
    """Version 1 is champion with everything; nobody had to wait for its container."""
    azure = registered.azure
    deploy = Change("2026-11-23T09:00:00Z", "ann", "deploy", None, "1")
    tags = {MODEL_TAG: MODEL, **write_roles(Roles(champion="1")), **add_change({}, deploy)}
    endpoint = azure.add_endpoint(
        ENDPOINT, tags={name: value for name, value in tags.items() if value is not None}
    )
    endpoint.add_deployment("version-1", tags={MODEL_TAG: MODEL, VERSION_TAG: "1"})
    endpoint.traffic = {"version-1": 100}
    return registered
