"""Endpoints of this machine for tests: written as files, served for real, called over loopback."""

from __future__ import annotations

import base64
import http.client
import json
from typing import TYPE_CHECKING, Any

from guardian_cli.lifecycle.local.workspace import (
    EndpointState,
    LocalDeployment,
    read_key,
    read_state,
    write_new_key,
    write_state,
)
from guardian_cli.lifecycle.platform import DeploymentSpec
from tests.serving.models import draw_jpeg, save_constant_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

HEADER = "azureml-model-deployment"


def make_endpoint(folder: Path, traffic: Mapping[str, int], logit: float = 0.0) -> Path:
    """An endpoint that is not running, with a ready deployment for each name in the traffic."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    write_new_key(folder)
    deployments = {}
    for number, name in enumerate(traffic):
        save_constant_model(folder / "models" / name, logit + number)
        deployments[name] = LocalDeployment(
            name, "m", str(number + 1), f"build-{name}", f"models/{name}", "ready"
        )
    write_state(folder, EndpointState(folder.name, traffic=dict(traffic), deployments=deployments))
    return folder


def spec(name: str, version: str = "1") -> DeploymentSpec:
    return DeploymentSpec(
        name, "nsfw-detector", version, "Standard_DS3_v2", 1, {"made": "guardian"}
    )


def body_of(frames: int = 1) -> bytes:
    rows = [[base64.b64encode(draw_jpeg()).decode()]] * frames
    table = {"columns": ["image"], "index": list(range(frames)), "data": rows}
    return json.dumps({"input_data": table}).encode()


class Caller:
    """A client of one endpoint over one connection that is kept."""

    def __init__(self, folder: Path, *, timeout_s: float = 30) -> None:
        state = read_state(folder)
        assert state is not None
        self.key = read_key(folder)
        self.connection = http.client.HTTPConnection("127.0.0.1", state.port, timeout=timeout_s)

    def post(
        self,
        body: bytes | None = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        path: str = "/score",
    ) -> tuple[int, Any, Mapping[str, str]]:
        sent = {"Authorization": f"Bearer {self.key if key is None else key}", **(headers or {})}
        self.connection.request(
            "POST", path, body=body_of() if body is None else body, headers=sent
        )
        response = self.connection.getresponse()
        text = response.read()
        return response.status, json.loads(text), dict(response.getheaders())

    def close(self) -> None:
        self.connection.close()
