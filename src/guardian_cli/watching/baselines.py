"""What the reference gives each figure: how it is computed, what it usually is, what limits it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from guardian_cli.watching.figures import (
    CHUNKS,
    Expected,
    Figure,
    domain_auc,
    domain_limit,
    expect_counts,
    expect_psi,
    expect_wasserstein,
    latency_limit,
    psi,
    rate_of,
    total_variation_of,
    wasserstein,
)
from guardian_cli.watching.observations import VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.config import MonitorSection
    from guardian_cli.watching.observations import Observations

    Rows = NDArray[np.int64]

EXAMPLES = 5
# The flags whose share of all sources is a figure, under the figure's name.
RATES = {"incomplete": "incomplete", "degraded": "degraded", "unscored": "unscored"}
RATES |= {"error": "errors"}
_MIN_CHUNK = 20
_JUDGED = 3  # of VERDICTS, all but `error`


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """One figure before there is anything to watch.

    `samples` counts the sources of a window that tell something, `value` computes the figure of
    them, `limit` takes their number; `examples` are a window's rows, what shows it best first.
    """

    name: str
    category: str | None
    reference_samples: int
    usual: float | None
    samples: Callable[[Observations], int]
    value: Callable[[Observations], float]
    limit: Callable[[int], float]
    examples: Callable[[Observations], Rows]

    def figure(self, window: Observations, min_samples: int) -> Figure:
        """The figure of one window."""
        samples = self.samples(window)
        few = min(samples, self.reference_samples) < max(1, min_samples)
        value = self.value(window) if samples and self.reference_samples else None
        found = Figure(
            self.name,
            self.category,
            value,
            # The limit of a slightly smaller sample is slightly wider, and one simulation serves
            # many windows.
            None if few else self.limit(_round_down(samples)),
            "too-little-data" if few else "ok",
            samples,
            self.reference_samples,
            self.usual,
        )
        if value is None or found.limit is None or value <= found.limit:
            return found
        rows = self.examples(window)[:EXAMPLES].tolist()
        return replace(found, state="alert", examples=tuple(window.sources[at] for at in rows))


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The reference, whole and in ten chunks by time, and how far a limit is from the usual."""

    whole: Observations
    chunks: Sequence[Observations]
    sigmas: float

    def list_baselines(self, watched: Observations, limits: MonitorSection) -> list[Baseline]:
        """All figures, in the order in which they are shown."""
        whole = self.whole
        baselines = [self.verdict_mix()]
        # Of both sides: a category that only one has is shown, with too little data to tell.
        for category in sorted({*whole.scores, *watched.scores}):
            baselines += self.scores(category, limits)
        if whole.features is not None and watched.features is not None:
            baselines.append(self.features())
        baselines += [self.rate(flag, name) for flag, name in RATES.items()]
        baselines += map(self.latency, sorted({*whole.latency_ms, *watched.latency_ms}))
        for category in sorted({*whole.deployments, *watched.deployments}):
            baselines.append(self.traffic(category, watched))
        return baselines

    def verdict_mix(self) -> Baseline:
        """How many sources have another verdict than in the reference: total variation, 0..1."""
        import numpy as np

        def counts(one: Observations) -> NDArray[np.float64]:
            return np.bincount(one.verdicts, minlength=len(VERDICTS))[:_JUDGED].astype(float)

        whole = counts(self.whole)

        def rarest_first(window: Observations) -> Rows:
            # Those whose verdict has become more frequent.
            shares = counts(window) / max(1.0, counts(window).sum())
            gained = np.append(shares - whole / max(1.0, whole.sum()), -1.0)
            return np.argsort(-gained[window.verdicts], kind="stable")

        return self._counted("verdict_mix", None, counts, total_variation_of, rarest_first)

    def scores(self, category: str, limits: MonitorSection) -> list[Baseline]:
        """How the scores of one category are spread: Wasserstein and PSI."""
        import numpy as np

        def told(one: Observations) -> NDArray[np.float64]:
            return _numbers(one.scores, category)

        whole, chunks = told(self.whole), [told(one) for one in self.chunks]

        def furthest(window: Observations) -> Rows:
            # Unscored sources go to the middle: they are no example of anything.
            values = np.nan_to_num(window.scores[category], nan=whole.mean())
            # Examples are taken from the side to which the scores have moved.
            sign = 1.0 if values.mean() >= whole.mean() else -1.0
            return np.argsort(-sign * values, kind="stable")

        found = []
        for name, measure, expect, fixed in (
            ("wasserstein", wasserstein, expect_wasserstein, limits.wasserstein),
            ("psi", psi, expect_psi, limits.psi),
        ):
            expected = expect(whole, chunks) if len(whole) else None
            found.append(
                Baseline(
                    name,
                    category,
                    len(whole),
                    None,
                    lambda window: len(told(window)),
                    lambda window, measure=measure: measure(told(window), whole),  # type: ignore[misc]
                    self._limit(expected, fixed),
                    furthest,
                )
            )
        return found

    def features(self) -> Baseline:
        """How well a classifier tells the pictures from the reference's: its AUC."""
        import numpy as np

        def told(one: Observations) -> NDArray[np.float32]:
            found = one.features if one.features is not None else np.empty((0, 1), np.float32)
            return found[~np.isnan(found).any(axis=1)]

        whole, sides = told(self.whole), [told(one) for one in self.chunks]

        @cache
        def chunk_aucs() -> NDArray[np.float64]:
            # A handful of sources is told apart by chance alone.
            if min(map(len, sides)) < _MIN_CHUNK:
                return np.empty(0)
            return np.array(
                [
                    domain_auc(one, np.concatenate([*sides[:at], *sides[at + 1 :]]))
                    for at, one in enumerate(sides)
                ]
            )

        def strangest(window: Observations) -> Rows:
            rows = window.features if window.features is not None else whole
            apart = np.linalg.norm(rows - whole.mean(axis=0), axis=1)
            return np.argsort(-np.nan_to_num(apart, nan=-1.0), kind="stable")

        return Baseline(
            "feature_drift",
            None,
            len(whole),
            None,
            lambda window: len(told(window)),
            # Five-fold cross-validation needs five of each.
            lambda window: domain_auc(told(window), whole) if len(told(window)) >= 5 else 0.5,
            lambda samples: domain_limit(chunk_aucs(), samples, len(whole), self.sigmas),
            strangest,
        )

    def rate(self, flag: str, name: str) -> Baseline:
        """How often something went wrong."""
        import numpy as np

        def counts(one: Observations) -> NDArray[np.float64]:
            return np.bincount(one.has(flag), minlength=2).astype(float)

        return self._counted(
            name, None, counts, rate_of, lambda window: np.flatnonzero(window.has(flag))
        )

    def traffic(self, category: str, watched: Observations) -> Baseline:
        """How many sources of one endpoint were scored by another deployment: total variation."""
        import numpy as np

        columns = [
            one.deployments[category]
            for one in (self.whole, watched)
            if category in one.deployments
        ]
        names = np.unique(np.concatenate(columns))
        names = names[names != ""]

        def counts(one: Observations) -> NDArray[np.float64]:
            column = one.deployments.get(category, np.empty(0, names.dtype))
            return np.array([(column == name).sum() for name in names], float)

        whole = counts(self.whole)

        def gaining(window: Observations) -> Rows:
            shares = counts(window) / max(1.0, counts(window).sum())
            most = names[int(np.argmax(shares - whole / max(1.0, whole.sum())))]
            return np.flatnonzero(window.deployments[category] == most)

        return self._counted("traffic", category, counts, total_variation_of, gaining)

    def latency(self, category: str) -> Baseline:
        """The median over sources of an endpoint's median latency, in ms."""
        import numpy as np

        def told(one: Observations) -> NDArray[np.float64]:
            return _numbers(one.latency_ms, category)

        whole = told(self.whole)
        medians = np.array([np.median(told(one)) for one in self.chunks if len(told(one))])

        def limit(samples: int) -> float:
            # Where some chunk has no latency its spread is unknown, and so is any limit.
            if len(medians) < CHUNKS:
                return math.inf
            return latency_limit(medians, len(whole) / CHUNKS, samples, self.sigmas)

        return Baseline(
            "latency_ms",
            category,
            len(whole) if len(medians) == CHUNKS else 0,
            float(np.median(whole)) if len(whole) else None,
            lambda window: len(told(window)),
            lambda window: float(np.median(told(window))),
            limit,
            lambda window: np.argsort(-np.nan_to_num(window.latency_ms[category]), kind="stable"),
        )

    def _counted(
        self,
        name: str,
        category: str | None,
        counts: Callable[[Observations], NDArray[np.float64]],
        statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]],
        examples: Callable[[Observations], Rows],
    ) -> Baseline:
        """A figure of how often things were counted."""
        whole = counts(self.whole)
        total = whole.sum()
        expected = None
        if total:
            expected = expect_counts(whole, [counts(one) for one in self.chunks], statistic)

        def value(window: Observations) -> float:
            found = counts(window)
            return float(statistic((found / found.sum())[None, :], whole / total)[0])

        return Baseline(
            name,
            category,
            int(total),
            # A rate has a usual value; a distance from the reference has none.
            float(whole[1] / total) if statistic is rate_of and total else None,
            lambda window: int(counts(window).sum()),
            value,
            self._limit(expected, None),
            examples,
        )

    def _limit(self, expected: Expected | None, fixed: float | None) -> Callable[[int], float]:
        @cache
        def limit(samples: int) -> float:
            if fixed is not None or expected is None:
                return math.inf if fixed is None else fixed
            return expected.limit_for(samples, self.sigmas)

        return limit


def _numbers(columns: Mapping[str, NDArray[np.float64]], category: str) -> NDArray[np.float64]:
    """What a category's column holds, without the rows that have no number."""
    import numpy as np

    column = columns.get(category, np.empty(0))
    return column[~np.isnan(column)]


def _round_down(samples: int) -> int:
    """The next smaller of sizes a fifth apart, so that windows of about one size share a limit."""
    return int(2 ** (math.floor(math.log2(samples) * 4) / 4))
