"""The models that a server holds, and which of them answers; replaced whole, never half."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass, field
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING

from guardian_cli.lifecycle.local.workspace import LOG_FOLDER, EndpointState, LocalDeployment
from guardian_cli.serving.model import FrameScorer, load_model

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOG_BYTES = 1_000_000


class WeightedRouter:
    """Chooses deployments by their weights: any hundred choices hold each as often as its percent.

    Each round holds every deployment exactly, like a deck of cards. It is shuffled, because in a
    fixed order a client that calls in a regular beat could always meet the same deployment.
    """

    def __init__(self, weights: Mapping[str, int], rng: random.Random) -> None:
        counts = {name: weight for name, weight in sorted(weights.items()) if weight > 0}
        divisor = math.gcd(*counts.values()) if counts else 1
        self._round = [name for name, weight in counts.items() for _ in range(weight // divisor)]
        self._rng = rng
        self._left: list[str] = []

    def choose(self) -> str | None:
        """The next deployment, or None when none has traffic."""
        if not self._left:
            self._left = self._round.copy()
            self._rng.shuffle(self._left)
        return self._left.pop() if self._left else None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A deployment as the server has it: a scorer, or the reason why there is none."""

    build: str
    log: logging.Logger
    scorer: FrameScorer | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """All that a request is routed by, replaced in one assignment; traffic in percent."""

    models: Mapping[str, LoadedModel] = field(default_factory=dict)
    router: WeightedRouter = field(default_factory=lambda: WeightedRouter({}, random.Random()))  # noqa: S311 - traffic is no secret
    traffic: Mapping[str, int] = field(default_factory=dict)


def follow_state(folder: Path, state: EndpointState, now: LoadedModels) -> LoadedModels:
    """Hold what a state asks for: keep what is loaded, load what is new (which takes seconds)."""
    models = {
        one.name: _keep_or_load(folder, one, now.models.get(one.name))
        for one in state.deployments.values()
        if one.state == "ready"
    }
    for name in set(now.models) - set(models):
        close_log(now.models[name].log)
    if state.traffic == now.traffic:
        # The round goes on, so that a reload for another reason does not disturb the shares.
        return LoadedModels(models, now.router, now.traffic)
    router = WeightedRouter(state.traffic, random.Random())  # noqa: S311 - traffic is no secret
    return LoadedModels(models, router, state.traffic)


def _keep_or_load(folder: Path, one: LocalDeployment, held: LoadedModel | None) -> LoadedModel:
    if held is not None and held.build == one.build and held.scorer is not None:
        return held
    log = open_log(folder, one.name)
    try:
        scorer = load_model(folder / one.folder)
    except Exception as error:  # a model may raise anything; the others are served on
        log.exception("%s could not be loaded", one.name)
        return LoadedModel(one.build, log, fault=f"{type(error).__name__}: {error}")
    log.info("%s loaded: model %s, version %s", one.name, one.model, one.version)
    return LoadedModel(one.build, log, scorer=scorer)


def open_log(folder: Path, name: str) -> logging.Logger:
    """Open a log of its own in the endpoint's folder; old lines go to a second file, then away."""
    log = logging.getLogger(f"guardian.endpoint.{folder}.{name}")
    # A deployment that was made anew has a new log file, of the same name.
    close_log(log)
    (folder / LOG_FOLDER).mkdir(exist_ok=True)
    path = folder / LOG_FOLDER / f"{name}.log"
    handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    return log


def close_log(log: logging.Logger) -> None:
    """Let go of a log's file."""
    for handler in list(log.handlers):
        log.removeHandler(handler)
        handler.close()
