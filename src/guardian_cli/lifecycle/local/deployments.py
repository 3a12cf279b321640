"""Deployments on this machine: fetched, smoke-tested, loaded by the server, removed.

`python -m guardian_cli.lifecycle.local.deployments FOLDER` is the smoke test: it loads a model and
scores one picture, in a process of its own, so that a model that crashes or eats memory takes no
server with it.
"""

from __future__ import annotations

import faulthandler
import logging
import shutil
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL
from typing import TYPE_CHECKING

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.local import endpoints
from guardian_cli.lifecycle.local.workspace import (
    LOG_FOLDER,
    LocalDeployment,
    require_state,
    write_state,
)
from guardian_cli.lifecycle.platform import DeploymentFailedError, OperationTimeoutError
from guardian_cli.lifecycle.probe import draw_probe
from guardian_cli.serving.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from guardian_cli.lifecycle.platform import DeploymentSpec

LOG_LINES = 200
LOG_TAIL_BYTES = 200_000
MODELS = "models"


def create_deployment(
    folder: Path, spec: DeploymentSpec, fetch: Callable[[Path], None], *, timeout_s: float
) -> None:
    """Bring a deployment up with no traffic; `fetch` copies its model to a folder.

    One that is ready is left as it is, one that is not is made anew.
    Raises DeploymentFailedError and OperationTimeoutError; what failed stays, as `failed`.
    """
    endpoints.start(folder)
    old = require_state(folder).deployments.get(spec.name)
    if old is not None and old.state == "ready":
        return
    build = uuid.uuid4().hex[:12]
    new = LocalDeployment(
        name=spec.name,
        model=spec.model,
        version=spec.version,
        build=build,
        folder=f"{MODELS}/{build}",
        instance_type=spec.instance_type,
        instance_count=spec.instance_count,
        tags=dict(spec.tags),
    )
    _write_deployment(folder, new)
    _remove_unused_models(folder)
    try:
        _bring_up(folder, new, fetch, timeout_s)
    except BaseException:
        _write_deployment(folder, replace(new, state="failed"))
        raise


def _bring_up(
    folder: Path, new: LocalDeployment, fetch: Callable[[Path], None], timeout_s: float
) -> None:
    (folder / MODELS).mkdir(exist_ok=True)
    fetch(folder / new.folder)
    _smoke_test(folder, new, timeout_s)
    # Only now: a server that follows the state by itself loads what is ready, too.
    _write_deployment(folder, replace(new, state="ready"))
    faults = endpoints.reload_server(endpoints.start(folder))
    fault = faults.get(new.name, "the server does not know it")
    if fault is not None:
        log = read_log(folder, new.name, LOG_LINES)
        raise DeploymentFailedError(f"{new.name} did not come up: {fault}", log=log)


def _smoke_test(folder: Path, deployment: LocalDeployment, timeout_s: float) -> None:
    """Load and score in a process of its own; what it writes is the deployment's log."""
    name, model = deployment.name, deployment.model
    path = folder / LOG_FOLDER / f"{name}.log"
    # What an earlier attempt wrote would only be taken for this one's.
    path.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", __name__, str(folder / deployment.folder)]
    with path.open("ab") as log:
        try:
            code = subprocess.run(
                command, stdin=DEVNULL, stdout=log, stderr=log, timeout=timeout_s, check=False
            ).returncode
        except subprocess.TimeoutExpired as error:
            message = f"{name} did not come up within {timeout_s:.0f} s"
            raise OperationTimeoutError(message) from error
    if code == 0:
        return
    written = read_log(folder, name, LOG_LINES)
    # The last line of a traceback names the error, with its module where that is ours.
    lines = [line for line in written.splitlines() if line.strip()] or ["it said nothing"]
    reason = lines[-1].removeprefix("guardian_cli.serving.format.")
    if code < 0:
        reason = f"its smoke test was ended by signal {-code}"
    raise DeploymentFailedError(
        f"{name} did not come up: {reason}",
        log=written,
        hint=f"train {model} anew, or deploy another version: guardian train {model}",
    )


def delete_deployment(folder: Path, name: str) -> None:
    """Remove a deployment that has no traffic; nothing to do when it is not there."""
    state = require_state(folder)
    if name not in state.deployments:
        return
    if state.traffic.get(name):
        raise PlatformError(f"{name} has {state.traffic[name]}% of the traffic: not removed")
    left = {other: one for other, one in state.deployments.items() if other != name}
    traffic = {other: share for other, share in state.traffic.items() if other != name}
    write_state(folder, replace(state, deployments=left, traffic=traffic))
    # The server lets go of the model and its log first.
    endpoints.reload(folder)
    _remove_unused_models(folder)
    for log in (folder / LOG_FOLDER).glob(f"{name}.log*"):
        log.unlink(missing_ok=True)


def read_log(folder: Path, name: str, lines: int) -> str:
    """The newest lines of a deployment's log, "" where there is none."""
    try:
        with (folder / LOG_FOLDER / f"{name}.log").open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - LOG_TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _write_deployment(folder: Path, deployment: LocalDeployment) -> None:
    state = require_state(folder)
    deployments = {**state.deployments, deployment.name: deployment}
    write_state(folder, replace(state, deployments=deployments))


def _remove_unused_models(folder: Path) -> None:
    used = {one.folder for one in require_state(folder).deployments.values()}
    for model in (folder / MODELS).glob("*"):
        if f"{MODELS}/{model.name}" not in used:
            shutil.rmtree(model, ignore_errors=True)


def run_smoke_test(folder: Path) -> int:
    """Load a model and score a picture; what is wrong goes to the log. Returns the exit code."""
    # A crash in native code then leaves a traceback in the log, too.
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logger = logging.getLogger("guardian.smoke_test")
    try:
        scorer = load_model(folder)
        score = scorer.score([draw_probe()])[0]
    except Exception:  # a model may raise anything: the smoke test is there to see it
        logger.exception("the model failed its smoke test")
        return 1
    card = scorer.card
    logger.info("%s (%s) loads and scores: %.4f", card.model, card.architecture, score)
    return 0


if __name__ == "__main__":
    sys.exit(run_smoke_test(Path(sys.argv[1])))
