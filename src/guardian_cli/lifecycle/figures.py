"""What training found of a version, read from its tags, and two versions side by side. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guardian_cli.lifecycle.platform import ModelVersion


@dataclass(frozen=True, slots=True)
class Figures:
    """A version's own numbers; None where its tags do not have one.

    `recall` is what its threshold finds of the positives, `conclusion` why training thought it not
    worth deploying.
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


def read_figures(found: ModelVersion) -> Figures:
    """Read what `training.report.version_tags` has written; a tag that makes no sense is none."""

    def number(name: str) -> float | None:
        try:
            value = float(found.tags[name])
        except (KeyError, ValueError):
            return None
        return value if math.isfinite(value) else None

    return Figures(
        found.version,
        found.simulated,
        found.tags.get("data"),
        found.tags.get("data_digest"),
        number("auc"),
        number("auc_low"),
        number("auc_high"),
        number("metadata_auc"),
        number("recall"),
        number("threshold"),
        found.tags.get("conclusion"),
    )


def find_faults(new: Figures, champion: Figures | None) -> tuple[str, ...]:
    """Say what speaks against a version: its own training, and a champion with better numbers."""
    faults = []
    if new.conclusion:
        faults.append(f"version {new.version}: {new.conclusion}")
    # Numbers on simulated data say nothing of real videos, and differ with the seed.
    if champion is not None and not champion.simulated and not new.simulated:
        pairs = [("AUC", new.auc, champion.auc), ("recall", new.recall, champion.recall)]
        worse = [
            f"{name} {ours:.3f} against {theirs:.3f}"
            for name, ours, theirs in pairs
            if ours is not None and theirs is not None and ours < theirs
        ]
        if worse:
            elsewhere = new.data_digest != champion.data_digest
            faults.append(
                f"version {new.version} is worse than the champion, version {champion.version}:"
                f" {', '.join(worse)}" + (", measured on other data" if elsewhere else "")
            )
    return tuple(faults)
