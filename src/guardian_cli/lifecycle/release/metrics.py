"""What training measured of a version, and what speaks against deploying it. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import ModelVersion


@dataclass(frozen=True, slots=True)
class VersionMetrics:
    """The numbers in a version's tags, None where there is none.

    `auc_low` and `auc_high` bound the AUC's confidence interval, `recall` is that at `threshold`,
    `conclusion` says why training thought the version not worth deploying.
    """

    version: str
    simulated: bool = False
    data: str | None = None
    data_digest: str | None = None
    auc: float | None = None
    auc_low: float | None = None
    auc_high: float | None = None
    metadata_auc: float | None = None
    recall: float | None = None
    threshold: float | None = None
    conclusion: str | None = None


def read_metrics(found: ModelVersion) -> VersionMetrics:
    """Read a version's tags; a value that is no finite number counts as none."""
    numbers: dict[str, float] = {}
    for name in ("auc", "auc_low", "auc_high", "metadata_auc", "recall", "threshold"):
        try:
            value = float(found.tags[name])
        except (KeyError, ValueError):
            continue
        # Python takes `nan` and `inf` for numbers, and tags may be written by anybody.
        if math.isfinite(value):
            numbers[name] = value
    return VersionMetrics(
        version=found.version,
        simulated=found.simulated,
        data=found.tags.get("data"),
        data_digest=found.tags.get("data_digest"),
        conclusion=found.tags.get("conclusion"),
        **numbers,
    )


def find_concerns(new: VersionMetrics, champion: VersionMetrics | None) -> tuple[str, ...]:
    """Say what speaks against a version: its own training, and a champion with better numbers."""
    concerns = [f"version {new.version}: {new.conclusion}"] if new.conclusion else []
    # Numbers from simulated data say nothing about real videos, and differ with the seed.
    if champion is None or champion.simulated or new.simulated:
        return tuple(concerns)
    pairs = [("AUC", new.auc, champion.auc), ("recall", new.recall, champion.recall)]
    worse = [
        f"{name} {ours:.3f} against {theirs:.3f}"
        for name, ours, theirs in pairs
        if ours is not None and theirs is not None and ours < theirs
    ]
    if worse:
        differs = new.data_digest != champion.data_digest
        concerns.append(
            f"version {new.version} is worse than the champion, version {champion.version}: "
            + ", ".join(worse)
            + (", measured on other data" if differs else "")
        )
    return tuple(concerns)
