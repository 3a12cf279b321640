"""The figures of `guardian monitor`, and what each may be by chance alone. Pure.

Every figure compares what is watched with a reference. All but the latency are functions of how
often things were counted (verdicts, deployments, scores in bins), so that one simulation says how
large each gets when nothing has changed: shares are drawn from their posterior given the reference,
and as many sources as were watched from those (the Dirichlet-multinomial predictive distribution).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]
    Features = NDArray[np.float32]
    # Shares of what is watched (draws, cells) and of the reference (cells,): a value a draw.
    Statistic = Callable[[Floats, Floats], Floats]

State = Literal["ok", "alert", "too-little-data"]
CHUNKS = 10
DECILES = 10
# An empty bin would make the logarithm infinite.
PSI_FLOOR = 1e-3
# Scores are told to a thousandth: a reference that never moves is measured against that.
SPREAD_FLOOR = 1e-3
MIN_SIGMAS = 3.0
# How often all figures together may give an alert where nothing has changed.
FALSE_ALARMS = 0.01
# Nobody wants to be told of less than a tenth more latency.
LATENCY_MARGIN = 1.1
# Evidently's: what a classifier tells no better is no drift that anybody needs to look at.
MIN_DOMAIN_AUC = 0.55
# A classifier learns little from more rows, and takes seconds for them.
_MAX_CLASSIFIED = 1000
_DRAWS = 2000
_BINS = 50
# Jeffreys' prior: what never happened in the reference may still happen.
_PRIOR = 0.5
# Chunks of the reference spread over 1.6 times what chance gives in 1 of 200 cases only (chi-square
# with 9 degrees of freedom).
_OVERDISPERSED = 1.62


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: an alert where `value` is over `limit`.

    `samples` and `reference_samples` are the sources that it was computed from; `usual` is what it
    is in the reference, None for a distance. `examples` are sources that show an alert best.
    """

    name: str
    category: str | None
    value: float | None
    limit: float | None
    state: State
    samples: int
    reference_samples: int
    usual: float | None = None
    examples: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name, and the category that it is of."""
        return self.name + (f" of {self.category}" if self.category else "")

    @property
    def excess(self) -> float:
        """How far it moved: the value in units of its limit; -1 where that can't be told."""
        if self.value is None or self.limit is None:
            return -1.0
        return self.value / self.limit if self.limit > 0 else math.inf if self.value > 0 else 0.0


def wasserstein(values: Floats, reference: Floats) -> float:
    """Wasserstein distance of two samples, in units of the reference's standard deviation."""
    import numpy as np
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(values, reference)) / max(
        float(np.std(reference)), SPREAD_FLOOR
    )


def psi(values: Floats, reference: Floats) -> float:
    """Population stability index on the reference's deciles, shares no smaller than 1e-3."""
    edges = decile_edges(reference)
    bins = len(edges) + 1
    shares, expected = (count_bins(one, edges, bins) / len(one) for one in (values, reference))
    return float(psi_of(shares[None, :], expected)[0])


def decile_edges(reference: Floats) -> Floats:
    """The nine inner edges of the reference's deciles."""
    import numpy as np

    return np.quantile(reference, np.linspace(0, 1, DECILES + 1)[1:-1])


def count_bins(values: Floats, edges: Floats, bins: int) -> NDArray[np.int64]:
    """Count values by bin: an edge belongs to the bin above it."""
    import numpy as np

    return np.bincount(np.searchsorted(edges, values, side="right"), minlength=bins)


def psi_of(shares: Floats, expected: Floats) -> Floats:
    """The PSI of each row of shares (draws, bins) against the expected ones (bins,)."""
    import numpy as np

    found, wanted = np.maximum(shares, PSI_FLOOR), np.maximum(expected, PSI_FLOOR)
    return np.asarray(((found - wanted) * np.log(found / wanted)).sum(axis=1))


def total_variation_of(shares: Floats, expected: Floats) -> Floats:
    """The total variation distance of each row of shares: what must move to make them equal."""
    import numpy as np

    return np.asarray(np.abs(shares - expected).sum(axis=1) / 2)


def rate_of(shares: Floats, expected: Floats) -> Floats:  # noqa: ARG001 - a rate is what it is
    """The second of two cells: how often something happened."""
    return shares[:, 1]


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What a figure is where nothing has changed: `limit_for` says how large, by sample size."""

    counts: Floats
    statistic: Statistic
    chunk_values: Floats
    prior: float = _PRIOR

    def limit_for(self, samples: int, sigmas: float) -> float:
        """The limit for a figure of this many samples; `sigmas` is corrected for many figures.

        By chance alone, at this sample size; or, where chunks of the reference already differ by
        more than chance from the whole, what NannyML takes: their mean and `sigmas` deviations.
        """
        import numpy as np

        # Two estimates, the larger counts: deviations know nothing of a skew, and a quantile so far
        # out rests on a few of the draws.
        chance = self._simulate(samples)
        limit = max(
            float(chance.mean() + sigmas * chance.std()),
            float(np.quantile(chance, _normal_cdf(sigmas))),
        )
        values = self.chunk_values
        if len(values) < CHUNKS:
            return limit
        alone = self._simulate(max(1, int(self.counts.sum()) // CHUNKS))
        mean, deviation = float(values.mean()), float(values.std(ddof=1))
        # The mean of ten chunks varies by the root of ten less than one of them does.
        drifts = mean > alone.mean() + 3 * alone.std() / math.sqrt(CHUNKS)
        if drifts or deviation > _OVERDISPERSED * alone.std():
            limit = max(limit, mean + sigmas * deviation)
        return limit

    def _simulate(self, samples: int) -> Floats:
        import numpy as np

        rng = np.random.default_rng(0)
        # A cell that must stay empty may not have a share of exactly zero in a Dirichlet draw.
        shares = rng.dirichlet(np.maximum(self.counts + self.prior, 1e-9), size=_DRAWS)
        drawn = rng.multinomial(samples, shares) / samples
        return self.statistic(drawn, self.counts / self.counts.sum())


def expect_counts(
    counts: ArrayLike, chunks: list[Floats], statistic: Statistic, *, prior: float = _PRIOR
) -> Expected:
    """Prepare a figure that is a function of counts (cells,), with those of the ten chunks."""
    import numpy as np

    total = np.asarray(counts, float)
    whole = total / total.sum()
    values = [float(statistic((one / one.sum())[None, :], whole)[0]) for one in chunks if one.sum()]
    return Expected(total, statistic, np.array(values), prior)


def expect_psi(reference: Floats, chunks: list[Floats]) -> Expected:
    """Prepare the PSI against a reference."""
    edges = decile_edges(reference)
    bins = len(edges) + 1
    binned = [count_bins(one, edges, bins).astype(float) for one in chunks]
    return expect_counts(count_bins(reference, edges, bins), binned, psi_of)


def expect_wasserstein(reference: Floats, chunks: list[Floats]) -> Expected:
    """Prepare the Wasserstein distance against a reference, on 50 of its quantiles."""
    import numpy as np

    edges = np.unique(np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1]))
    bins = len(edges) + 1
    counts = count_bins(reference, edges, bins)
    sums = np.bincount(np.searchsorted(edges, reference, side="right"), reference, bins)
    filled = np.flatnonzero(counts)
    # An empty bin has no mean of its own: its neighbours' stand in for it.
    centres = np.interp(np.arange(bins), filled, sums[filled] / counts[filled])
    gaps = np.diff(centres) / max(float(np.std(reference)), SPREAD_FLOOR)

    def distance(shares: Floats, expected: Floats) -> Floats:
        apart = np.cumsum(shares - expected, axis=1)[:, :-1]
        return np.asarray((np.abs(apart) * gaps).sum(axis=1))

    binned = [count_bins(one, edges, bins).astype(float) for one in chunks]
    return expect_counts(counts, binned, distance, prior=0.0)


def domain_auc(values: Features, reference: Features) -> float:
    """How well a classifier tells two sets of features (N, D) apart: its AUC on what it has not
    seen, by five-fold cross-validation. 0.5 is not at all. At most 1,000 of each are taken.
    """
    import numpy as np
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rng = np.random.default_rng(0)
    sides = [
        one[rng.permutation(len(one))[:_MAX_CLASSIFIED]].astype(np.float64)
        for one in (values, reference)
    ]
    rows = np.concatenate(sides)
    # A feature that never varies would be divided by zero.
    rows = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-6)
    labels = np.repeat([1, 0], [len(one) for one in sides])
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    # Strongly regularised: there are as many dimensions as sources.
    model = LogisticRegression(C=0.01, class_weight="balanced", max_iter=300)
    told = cross_val_predict(model, rows, labels, cv=folds, method="decision_function")
    return float(roc_auc_score(labels, told))


def domain_limit(chunk_aucs: Floats, samples: int, reference: int, sigmas: float) -> float:
    """The limit for the domain classifier's AUC: what chance gives, never under 0.55.

    By Mann-Whitney's deviation at these sizes (Hanley and McNeil, 1982); or, where chunks of the
    reference are told from the rest by more than that, their mean and `sigmas` deviations.
    """
    sizes = [min(one, _MAX_CLASSIFIED) for one in (samples, reference)]
    limit = max(MIN_DOMAIN_AUC, 0.5 + sigmas * _auc_deviation(*sizes))
    if len(chunk_aucs) < CHUNKS:
        return limit
    alone = _auc_deviation(min(reference // CHUNKS, _MAX_CLASSIFIED), sizes[1])
    mean, deviation = float(chunk_aucs.mean()), float(chunk_aucs.std(ddof=1))
    if mean > 0.5 + 3 * alone / math.sqrt(CHUNKS):
        limit = max(limit, mean + sigmas * deviation)
    return min(limit, 1.0)


def _auc_deviation(count: int, other: int) -> float:
    return math.sqrt((count + other + 1) / (12 * max(1, count) * max(1, other)))


def latency_limit(chunk_medians: Floats, chunk_size: float, samples: int, sigmas: float) -> float:
    """The limit for a median latency in ms, from the medians of the reference's chunks."""
    mean, deviation = float(chunk_medians.mean()), float(chunk_medians.std(ddof=1))
    # A smaller sample than a chunk has a median that varies more.
    widened = deviation * math.sqrt(max(1.0, chunk_size / samples))
    return max(mean + sigmas * widened, LATENCY_MARGIN * mean)


def corrected_sigmas(figures: int) -> float:
    """Sigmas at which that many figures together give a false alarm in 1% of cases; at least 3."""
    from scipy.stats import norm

    return max(MIN_SIGMAS, float(norm.isf(FALSE_ALARMS / max(1, figures))))


def _normal_cdf(sigmas: float) -> float:
    from scipy.stats import norm

    # SciPy has no types.
    value: Any = norm.cdf(sigmas)
    return float(value)
