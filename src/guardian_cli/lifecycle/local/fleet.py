"""The models that a server holds, and which of them answers; swapped whole, never half."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from guardian_cli.lifecycle.local.routing import TrafficDeck
from guardian_cli.lifecycle.local.state import LOG_FOLDER, EndpointState, LocalDeployment
from guardian_cli.serving.model import FrameScorer, load_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOG_BYTES = 1_000_000
LOG_FILES = 2


@dataclass(frozen=True, slots=True)
class Served:
    """A deployment as the server has it: a scorer, or the reason why there is none."""

    name: str
    build: str
    log: logging.Logger
    scorer: FrameScorer | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Routing:
    """Everything that a request looks at; replaced in one assignment."""

    served: Mapping[str, Served] = field(default_factory=dict)
    deck: TrafficDeck = field(default_factory=lambda: TrafficDeck({}, random.Random()))  # noqa: S311
    traffic: Mapping[str, int] = field(default_factory=dict)


def plan_routing(folder: Path, state: EndpointState, now: Routing) -> Routing:
    """Make the routing for a state: keep what is loaded, load what is new (this takes seconds)."""
    served = {
        one.name: _keep_or_load(folder, one, now.served.get(one.name))
        for one in state.deployments.values()
        if one.state == "ready"
    }
    for name in set(now.served) - set(served):
        close_log(folder, name)
    if dict(state.traffic) == dict(now.traffic):
        # The same cards go on, so that a reload for another reason does not disturb the shares.
        return Routing(served, now.deck, now.traffic)
    deck = TrafficDeck(state.traffic, random.Random())  # noqa: S311 - traffic is no secret
    return Routing(served, deck, dict(state.traffic))


def _keep_or_load(folder: Path, one: LocalDeployment, held: Served | None) -> Served:
    if held is not None and held.build == one.build and held.scorer is not None:
        return held
    # A deployment that was made anew has a new log file.
    close_log(folder, one.name)
    log = open_log(folder, one.name)
    try:
        scorer = load_model(folder / one.folder)
    except Exception as error:  # a model may raise anything; the others are served on
        log.exception("%s could not be loaded", one.name)
        return Served(one.name, one.build, log, fault=f"{type(error).__name__}: {error}")
    log.info("%s loaded: model %s, version %s", one.name, one.model, one.version)
    return Served(one.name, one.build, log, scorer=scorer)


def close_log(folder: Path, name: str) -> None:
    """Let go of a log whose deployment is gone: one of the same name writes to a new file."""
    log = logging.getLogger(f"guardian.endpoint.{folder}.{name}")
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()


def open_log(folder: Path, name: str) -> logging.Logger:
    """Open a log of its own in the endpoint's folder; old lines go to a second file, then away."""
    log = logging.getLogger(f"guardian.endpoint.{folder}.{name}")
    if not log.handlers:
        (folder / LOG_FOLDER).mkdir(exist_ok=True)
        handler = RotatingFileHandler(
            folder / LOG_FOLDER / f"{name}.log", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False
    return log
