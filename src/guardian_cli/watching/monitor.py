"""`guardian monitor`: results against a reference, figure by figure, whole and window by window.

    reference -> ten chunks -> a Baseline for each figure (how it is computed, what limits it)
    results -> whole, or by day or chunk -> a Figure of each Baseline

Whatever is too little to tell says so; whether there is an alert is `Monitoring.alerts`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from guardian_cli.errors import UsageError
from guardian_cli.watching.baselines import RATES, Reference
from guardian_cli.watching.figures import CHUNKS, Figure, corrected_sigmas
from guardian_cli.watching.observations import VERDICTS

if TYPE_CHECKING:
    from guardian_cli.config import MonitorSection
    from guardian_cli.watching.observations import Observations

# Figures whose alert says that videos look otherwise; the others say that something is broken, or
# that people have moved traffic.
DRIFT = frozenset({"verdict_mix", "wasserstein", "psi", "feature_drift"})


@dataclass(frozen=True, slots=True)
class Window:
    """A part of what is watched: a day, or so many sources; times in seconds since 1970."""

    name: str
    begins_s: float
    ends_s: float
    sources: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True, slots=True)
class Monitoring:
    """What `guardian monitor` found; `windows` are empty where nothing was parted."""

    sources: int
    reference_sources: int
    figures: tuple[Figure, ...]
    windows: tuple[Window, ...]
    sigmas: float
    verdicts: dict[str, tuple[float, float]]
    deployments: dict[str, dict[str, tuple[float, float]]]
    # For the page: the time-lines also where the windows do not count.
    drawn: tuple[Window, ...] = ()

    @property
    def summary(self) -> str:
        """In one line which figures are over their limits."""
        names = dict.fromkeys(one.title for _, one in self.alerts)
        return f"{len(names)} of {len(self.figures)} figures over the limit: {', '.join(names)}"

    @property
    def alerts(self) -> list[tuple[str | None, Figure]]:
        """Every figure over its limit, with the window in which it is; None for the whole."""
        parts = [(None, self.figures), *((one.name, one.figures) for one in self.windows)]
        return [(name, one) for name, found in parts for one in found if one.state == "alert"]


def monitor(
    watched: Observations,
    reference: Observations,
    limits: MonitorSection,
    *,
    by: str | None = None,
    draw: bool = False,
) -> Monitoring:
    """Compare what was watched with a reference.

    `by` is `day` or a number of sources: then every window counts, too; `draw` parts it for a
    page's time-lines in any case. Raises UsageError for a `by` that is neither, or for no result.
    """
    import numpy as np

    for what, found in (("results hold", watched), ("reference holds", reference)):
        if not len(found):
            raise UsageError(f"the {what} no result", hint="guardian scan … --jsonl > FILE")
    parts = part(watched, by) if by else []
    # Windows for the page alone raise no alert, so they cost no sensitivity.
    drawn = parts or (part(watched, None) if draw else [])
    categories, endpoints = (
        {*watched.scores, *reference.scores},
        {*watched.latency_ms, *reference.latency_ms, *watched.deployments, *reference.deployments},
    )
    if None not in {watched.weights, reference.weights} and watched.weights != reference.weights:
        raise UsageError(
            "the stores hold features of different CLIPs: nothing can be said of their drift",
            hint="scan both with one model, or give results files instead",
        )
    # As many figures as there can be, in every window: so many chances of a false alarm. The
    # verdicts and the pictures have one each, a category and an endpoint two.
    number = 2 + 2 * len(categories) + len(RATES) + 2 * len(endpoints)
    sigmas = corrected_sigmas(number * (1 + len(parts)))
    # By time, not at random: what varies from week to week in the reference must be no alert.
    rows = np.array_split(np.arange(len(reference)), CHUNKS)
    chunks = [reference.take(one) for one in rows]
    baselines = Reference(reference, chunks, sigmas).list_baselines(watched, limits)

    def measure(window: Observations) -> tuple[Figure, ...]:
        return tuple(one.figure(window, limits.min_samples) for one in baselines)

    windows = tuple(
        Window(name, one.when[0], one.when[-1], len(one), measure(one)) for name, one in drawn
    )
    return Monitoring(
        len(watched),
        len(reference),
        measure(watched),
        windows if parts else (),
        sigmas,
        {
            name: (float((watched.verdicts == at).mean()), float((reference.verdicts == at).mean()))
            for at, name in enumerate(VERDICTS)
        },
        {
            category: deployment_shares(watched, reference, category)
            for category in sorted({*watched.deployments, *reference.deployments})
        },
        drawn=windows,
    )


def part(watched: Observations, by: str | None) -> list[tuple[str, Observations]]:
    """Part what was watched by `day`, or into chunks of so many sources; ten where None.

    Raises UsageError for another `by`, and for days where results do not tell when.
    """
    import numpy as np

    rows = np.arange(len(watched))
    if by == "day":
        if np.isnan(watched.when).any():
            raise UsageError(
                "--by day: some results do not say when they were made", hint="--by 500"
            )
        # Days are UTC's, as the times in results are.
        days = (watched.when // 86400).astype(int)
        return [
            (
                datetime.fromtimestamp(int(day) * 86400, tz=UTC).strftime("%Y-%m-%d"),
                watched.take(rows[days == day]),
            )
            for day in np.unique(days)
        ]
    if by is not None and (not by.isdecimal() or int(by) == 0):
        raise UsageError(f"--by {by}: neither `day` nor a number of sources", hint="--by day")
    size = int(by) if by else max(1, math.ceil(len(watched) / CHUNKS))
    return [
        (f"{at + 1}-{min(at + size, len(watched))}", watched.take(rows[at : at + size]))
        for at in range(0, len(watched), size)
    ]


def deployment_shares(
    watched: Observations, reference: Observations, category: str
) -> dict[str, tuple[float, float]]:
    """The share of one endpoint's sources that each deployment scored, now and in the reference."""
    import numpy as np

    columns = []
    for one in (watched, reference):
        column = one.deployments.get(category, np.empty(0, str))
        columns.append(column[column != ""])
    return {
        str(name): (
            float((columns[0] == name).mean()) if len(columns[0]) else 0.0,
            float((columns[1] == name).mean()) if len(columns[1]) else 0.0,
        )
        for name in np.unique(np.concatenate(columns))
    }
