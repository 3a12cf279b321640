"""What `guardian monitor` keeps of results: a few numbers for each, so that a million fit."""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import UsageError
from guardian_cli.reports.results_file import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

VERDICTS = ("allow", "review", "block", "error")
FLAGS = ("incomplete", "degraded", "unscored", "error")


@dataclass(eq=False)
class Observations:
    """Results as columns, one row a source, in the order in which they were made.

    `verdicts` are places in VERDICTS, `flags` bits in the order of FLAGS, `when` seconds since
    1970 (NaN where a result does not tell); `scores`, `latency_ms` and `deployments` are by
    category, NaN or "" where there is none. `features` (rows, D), the mean of each source's frames,
    are there for stores alone; rows without any are NaN.
    """

    sources: list[str]
    when: NDArray[np.float64]
    verdicts: NDArray[np.int8]
    flags: NDArray[np.int8]
    scores: dict[str, NDArray[np.float64]]
    latency_ms: dict[str, NDArray[np.float64]]
    deployments: dict[str, NDArray[np.str_]]
    features: NDArray[np.float32] | None = None
    weights: str | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def take(self, rows: NDArray[np.int64]) -> Observations:
        """Some of the rows."""
        return Observations(
            [self.sources[at] for at in rows.tolist()],
            self.when[rows],
            self.verdicts[rows],
            self.flags[rows],
            {name: column[rows] for name, column in self.scores.items()},
            {name: column[rows] for name, column in self.latency_ms.items()},
            {name: column[rows] for name, column in self.deployments.items()},
            None if self.features is None else self.features[rows],
            self.weights,
        )

    def has(self, flag: str) -> NDArray[np.bool_]:
        """Whether each row has a flag of FLAGS."""
        found: NDArray[np.bool_] = (self.flags >> FLAGS.index(flag)) & 1 == 1
        return found


@dataclass
class _Column:
    """Numbers by row; rows that nobody gave one are NaN."""

    values: array[float] = field(default_factory=lambda: array("d"))

    def put(self, row: int, value: float) -> None:
        while len(self.values) < row:
            self.values.append(math.nan)
        self.values.append(value)


@dataclass
class Collector:
    """Turns elements of guardian.scan/1 into Observations; a source's newest result counts."""

    _rows: dict[str, int] = field(default_factory=dict)
    _sources: list[str] = field(default_factory=list)
    _when: array[float] = field(default_factory=lambda: array("d"))
    _verdicts: array[int] = field(default_factory=lambda: array("b"))
    _flags: array[int] = field(default_factory=lambda: array("b"))
    _scores: dict[str, _Column] = field(default_factory=dict)
    _latency: dict[str, _Column] = field(default_factory=dict)
    _deployments: dict[str, _Column] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _features: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    weights: str | None = None

    def add(self, result: Mapping[str, Any], features: NDArray[np.float32] | None = None) -> None:
        """Add one result, with what its pictures are like (D,). Raises UsageError for no result."""
        try:
            row = len(self._sources)
            verdict = VERDICTS.index(result["verdict"])
            categories = result.get("categories") or {}
            coverage = result.get("coverage") or {}
            is_error = verdict == VERDICTS.index("error")
            values = {name: one["score"] for name, one in categories.items()}
            scored = {name: float(one) for name, one in values.items() if one is not None}
            if not all(0 <= score <= 1 for score in scored.values()):
                raise ValueError("a score is no share")  # noqa: TRY301 - as whatever else is wrong
            flags = (
                # An error is told as one, not also as what it left unseen and unscored.
                not is_error and coverage.get("complete") is False,
                bool(result.get("degraded")),
                not is_error and len(scored) < len(values),
                is_error,
            )
            when = _seconds((result.get("made") or {}).get("when"))
            source = str(result["source"])
            for name, score in scored.items() if not is_error else ():
                self._scores.setdefault(name, _Column()).put(row, score)
            for one in result.get("detectors") or ():
                self._add_detector(row, one)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(
                f"{result.get('source', 'a line')}: no result of guardian scan",
                hint="guardian scan … --jsonl > FILE makes results",
            ) from error
        if features is not None:
            self._features[row] = features
        # Also over several files: the row that was there before is passed over in the end.
        self._rows[key_of(result)] = row
        self._sources.append(source)
        self._when.append(when)
        self._verdicts.append(verdict)
        self._flags.append(sum(1 << bit for bit, is_set in enumerate(flags) if is_set))

    def of_one_model(self, weights: str | None, folder: str) -> None:
        """Raise UsageError where stores hold features of different models."""
        if weights is None:
            return
        self.weights = self.weights or weights
        if self.weights != weights:
            raise UsageError(
                f"{folder} holds features of another CLIP ({weights[:19]}…) than the store before"
                f" it ({self.weights[:19]}…)",
                hint="compare stores of one model",
            )

    def _add_detector(self, row: int, one: Mapping[str, Any]) -> None:
        category = one.get("category")
        if one.get("name") != "endpoint" or category is None:
            return
        latency = (one.get("latency_ms") or {}).get("p50")
        if latency is not None:
            self._latency.setdefault(category, _Column()).put(row, float(latency))
        # One source is scored by one deployment; where several answered, the busiest counts.
        counts: Mapping[str, int] = one.get("deployments") or {}
        if counts:
            name = max(counts, key=lambda name: counts[name])
            number = self._names.setdefault(name, len(self._names))
            self._deployments.setdefault(category, _Column()).put(row, number)

    def observations(self) -> Observations:
        """All rows, oldest first."""
        import numpy as np

        rows = np.array(sorted(self._rows.values()), dtype=np.int64)

        def column(one: _Column) -> NDArray[np.float64]:
            # Fills up to the last row; what is put there itself is cut off again.
            one.put(len(self._sources), math.nan)
            return np.array(one.values)[: len(self._sources)]

        features = None
        if self._features:
            size = len(next(iter(self._features.values())))
            features = np.full((len(self._sources), size), np.nan, np.float32)
            for row, of_one in self._features.items():
                features[row] = of_one
        # The last name, an empty one, is for rows that no deployment scored.
        names = np.array([*self._names, ""])
        found = Observations(
            self._sources,
            np.array(self._when),
            np.array(self._verdicts, dtype=np.int8),
            np.array(self._flags, dtype=np.int8),
            {name: column(one) for name, one in sorted(self._scores.items())},
            {name: column(one) for name, one in sorted(self._latency.items())},
            {
                name: names[np.nan_to_num(column(one), nan=len(self._names)).astype(int)]
                for name, one in sorted(self._deployments.items())
            },
            features,
            self.weights,
        ).take(rows)
        if np.isnan(found.when).any():
            # Without times, the order of the file is the order of time.
            return found
        return found.take(np.argsort(found.when, kind="stable"))


def _seconds(when: object) -> float:
    try:
        # In UTC, so that a time is one that can be shown.
        return datetime.fromisoformat(str(when)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return math.nan
