"""`guardian compare --by deployment`: which deployment of an endpoint flags what. Pure.

A traffic split gives every source to one deployment, by chance: what one flags more often than
another, beyond the interval, is the version's doing. Intervals are Wilson's (1927) for a share and
Newcombe's (1998, method 10) for a difference of two.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.evaluation.compare import FLAGGED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class DeploymentShare:
    """How many of the sources that a deployment scored got review or block in its category."""

    category: str
    deployment: str
    sources: int
    flagged: int
    interval: tuple[float, float]

    @property
    def share(self) -> float:
        """The share that was flagged, in 0..1."""
        return self.flagged / self.sources


@dataclass(frozen=True, slots=True)
class Difference:
    """How much more a deployment flags than the busiest one; told where 0 is outside."""

    category: str
    deployment: str
    against: str
    value: float
    interval: tuple[float, float]

    @property
    def is_told(self) -> bool:
        """Whether there is a difference beyond chance."""
        return not self.interval[0] <= 0 <= self.interval[1]


def count_shares(results: Iterable[Mapping[str, Any]]) -> list[DeploymentShare]:
    """Count by category and deployment, the busiest first; errors and unscored ones are left out.

    A source that several deployments of one endpoint scored says nothing about either.
    """
    sources: Counter[tuple[str, str]] = Counter()
    flagged: Counter[tuple[str, str]] = Counter()
    for result in results:
        for detector in result.get("detectors") or ():
            category, names = detector.get("category"), list(detector.get("deployments") or ())
            judged = (result.get("categories") or {}).get(category)
            if len(names) == 1 and judged is not None and judged.get("score") is not None:
                sources[category, names[0]] += 1
                flagged[category, names[0]] += judged["verdict"] in FLAGGED
    ordered = sorted(sources, key=lambda key: (key[0], -sources[key], key[1]))
    return [
        DeploymentShare(*key, sources[key], flagged[key], wilson(flagged[key], sources[key], LEVEL))
        for key in ordered
    ]


def find_differences(shares: list[DeploymentShare]) -> list[Difference]:
    """Compare each deployment with the busiest of its category.

    With several of them each interval is wider (Bonferroni), so that all hold together.
    """
    # The busiest is mostly the champion, and its share is the one known best.
    busiest: dict[str, DeploymentShare] = {}
    for one in shares:
        busiest.setdefault(one.category, one)
    pairs = [(one, busiest[one.category]) for one in shares if one is not busiest[one.category]]
    level = 1 - (1 - LEVEL) / max(1, len(pairs))
    found = []
    for one, other in pairs:
        ours, theirs = (wilson(side.flagged, side.sources, level) for side in (one, other))
        value = one.share - other.share
        # Newcombe's method 10: the ends of two independent intervals add up as squares do.
        down = math.hypot(one.share - ours[0], theirs[1] - other.share)
        up = math.hypot(ours[1] - one.share, other.share - theirs[0])
        interval = value - down, value + up
        found.append(Difference(one.category, one.deployment, other.deployment, value, interval))
    return found


def wilson(hits: int, trials: int, level: float) -> tuple[float, float]:
    """Wilson's interval of a share, without continuity correction."""
    from scipy.stats import binomtest

    found = binomtest(hits, trials).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)
