"""A block's frames as deciding wants them: samples of one source, or all calm sources at once."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from guardian_cli.detectors.fusion import CategoryScore, score_category
from guardian_cli.store.calm import find_calm, judge_calm
from guardian_cli.store.layout import deployment_column, score_column
from guardian_cli.store.scores import fuse_arrays
from guardian_cli.verdict.policy import for_source
from guardian_cli.verdict.timeline import REFINE_FACTOR, Sample, is_inside, windows_to_refine

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from guardian_cli.media.frames import Window
    from guardian_cli.store.reader import Block
    from guardian_cli.store.rules import Rules
    from guardian_cli.store.scores import BlockScores
    from guardian_cli.verdict.result import CategoryVerdict, DetectorReport
    from guardian_cli.verdict.thresholds import Thresholds

# Bounds that differ by rounding alone are the same.
_SAME_WINDOW_S = 1e-6


@dataclass(frozen=True)
class BlockFrames:
    """The frames of a block's sources with their scores by the rules, sources by their number."""

    block: Block
    rules: Rules
    scores: Mapping[str, BlockScores]

    @cached_property
    def _times(self) -> NDArray[np.float64]:
        return self.block.column("time_s")

    @cached_property
    def _untils(self) -> NDArray[np.float64]:
        return self.block.column("shown_until_s")

    @cached_property
    def _first_ends(self) -> NDArray[np.int64]:
        """Where each source's first pass ends: refinements come behind it."""
        import numpy as np

        refined = np.concatenate([[0], np.cumsum(self.block.is_refined())])
        offsets = self.block.offsets
        counts = refined[offsets[1:]] - refined[offsets[:-1]]
        return np.asarray(offsets[1:] - counts, np.int64)

    def first_count(self, number: int) -> int:
        """How many frames a source's first pass has."""
        return int(self._first_ends[number] - self.block.offsets[number])

    def count(self, number: int) -> int:
        """How many frames a source has, in both passes."""
        return int(self.block.offsets[number + 1] - self.block.offsets[number])

    def is_refined(self, number: int) -> bool:
        """Whether a source was looked at a second time."""
        return bool(self._first_ends[number] < self.block.offsets[number + 1])

    def judge_calm(self, durations: Sequence[float]) -> dict[int, dict[str, CategoryVerdict]]:
        """The categories of all sources in which nothing reaches a threshold, by their number.

        `durations` has each source's length in seconds, 0 where it is not known.
        """
        import numpy as np

        offsets, rules = self.block.offsets, self.rules
        lengths = self._first_ends - offsets[:-1]
        # Sources that could not be scanned have no frames, and a block may hold no others.
        if not lengths.any() or not rules.thresholds:
            return {}
        first = _ranges(offsets[:-1], lengths)
        starts = np.concatenate([[0], np.cumsum(lengths)])
        times, untils = self._times[first], self._untils[first]
        fused = {name: one.fused[first] for name, one in self.scores.items()}
        calm = find_calm(times, untils, starts, fused, rules.thresholds, rules.every_s)
        if not calm.any():
            return {}
        numbers = np.flatnonzero(calm)
        kept = _ranges(starts[:-1][calm], lengths[calm])
        starts = np.concatenate([[0], np.cumsum(lengths[calm])])
        ends = np.array(durations, np.float64)[calm]
        judged: dict[int, dict[str, CategoryVerdict]] = {int(number): {} for number in numbers}
        for name, limits in rules.thresholds.items():
            unscored = rules.config.policy.unscored
            found = judge_calm(
                times[kept], starts, fused[name][kept], limits, unscored, rules.every_s, ends
            )
            for number, verdict in zip(numbers.tolist(), found, strict=True):
                judged[number][name] = verdict
        return judged

    def samples(
        self, number: int, *, with_answers: bool = False
    ) -> tuple[list[Sample], list[Sample]]:
        """A source's samples of both passes; `with_answers` brings what each detector said."""
        begin, end = (int(one) for one in self.block.offsets[number : number + 2])
        times, untils, sames = (
            _numbers(values[begin:end])
            for values in (self._times, self._untils, self.block.column("same_as_s"))
        )
        by_category = {
            name: self._scores(name, begin, end, with_answers=with_answers) for name in self.scores
        }
        not_sent = self.block.words("not_sent", number)
        samples = [
            Sample(
                times[at] or 0.0,
                {name: scores[at] for name, scores in by_category.items()},
                sames[at],
                untils[at],
                tuple((not_sent[at] or "").split(",")) if not_sent[at] else (),
            )
            for at in range(end - begin)
        ]
        count = self.first_count(number)
        return samples[:count], samples[count:]

    def _scores(
        self, category: str, begin: int, end: int, *, with_answers: bool
    ) -> list[CategoryScore]:
        scores = self.scores[category]
        if not with_answers:
            return [CategoryScore(one) for one in _numbers(scores.fused[begin:end])]
        answers = {name: _numbers(one[begin:end]) for name, one in scores.by_name.items()}
        return [
            score_category(
                {name: one for name, all_ in answers.items() if (one := all_[at]) is not None},
                self.rules.config.fusion,
                self.rules.thresholds[category].calibration,
            )
            for at in range(end - begin)
        ]

    def undecided(self, number: int) -> Iterator[str]:
        """Where a score is nearer to a threshold than it is known, for each category."""
        if not self.rules.changed:
            # Such frames were scored in fp32 when they were scanned by the same rules.
            return
        begin, end = self.block.offsets[number : number + 2]
        for name, limits in self.rules.thresholds.items():
            frames = self._undecided[name]
            if frames is not None and frames[begin:end].any():
                # The first is enough: the whole source is scanned again anyway.
                at = begin + int(frames[begin:end].argmax())
                yield (
                    f"{name} {self.scores[name].fused[at]:.4f} at {self._times[at]:.1f} s is too "
                    f"near to a threshold of {limits.review:g} or {limits.block:g} for what is kept"
                )

    @cached_property
    def _undecided(self) -> dict[str, NDArray[np.bool_] | None]:
        return {
            name: self.scores[name].undecided(limits)
            for name, limits in self.rules.thresholds.items()
        }

    def refinement(
        self, number: int, first: Sequence[Sample], refined: Sequence[Sample]
    ) -> tuple[list[Sample], list[str]]:
        """The refinement that a scan by these rules would have made, and why it is not all here."""
        rules = self.rules
        windows = _windows(first, rules.thresholds, rules.every_s)
        if not windows or not rules.changed:
            return list(refined) if windows else [], []
        # Which frames a second pass has seen follows from the rules of that time, not from the new.
        old = _windows(self._old_first(number), rules.old_thresholds, rules.every_s)
        step_s = rules.every_s / REFINE_FACTOR
        missing = [one for one in windows if not was_refined(one, windows, old, step_s)]
        kept = [sample for sample in refined if is_inside(windows, sample.time_s)]
        return kept, [
            f"{one.start_s:.1f} to {one.end_s:.1f} s was never looked at closely"
            # One is enough to ask for another scan, which then sees them all.
            for one in missing[:1]
        ]

    def recount(
        self, number: int, reports: Sequence[DetectorReport], samples: Sequence[Sample]
    ) -> tuple[DetectorReport, ...]:
        """Reports that count only these of a source's samples."""
        import numpy as np

        begin, end = self.block.offsets[number : number + 2]
        times = {sample.time_s for sample in samples}
        # By time, since a sample's place changes where a part of the second pass is left out.
        kept = np.array([one in times for one in self._times[begin:end].tolist()], np.bool_)
        counted = []
        for report in reports:
            scored = np.zeros(int(end - begin), np.bool_)
            deployments: Counter[str] = Counter()
            for index, one in enumerate(self.rules.provenance["detectors"]):
                if (one["name"], one["category"]) != (report.name, report.category):
                    continue
                # Of all its categories.
                prefix = score_column(index, report.name, "")
                for name in self.block.table.column_names:
                    if name.startswith(prefix):
                        scored |= ~np.isnan(self.block.column(name)[begin:end])
                names = self.block.words(deployment_column(index, report.name), number)
                deployments.update(
                    name for name, is_kept in zip(names, kept, strict=True) if name and is_kept
                )
            not_sent = sum(report.category in sample.not_sent for sample in samples)
            counted.append(
                replace(
                    report,
                    frames=int((scored & kept).sum()),
                    deployments=dict(deployments),
                    not_sent=not_sent if report.not_sent else 0,
                )
            )
        return tuple(counted)

    def _old_first(self, number: int) -> list[Sample]:
        """The first pass as it was scored when it was stored."""
        begin, end = int(self.block.offsets[number]), int(self._first_ends[number])
        columns = (self._times, self.block.column("same_as_s"), self._untils)
        times, sames, untils = (_numbers(values[begin:end]) for values in columns)
        fused = {name: _numbers(one[begin:end]) for name, one in self._old_fused.items()}
        return [
            Sample(
                times[at] or 0.0,
                {name: CategoryScore(scores[at]) for name, scores in fused.items()},
                sames[at],
                untils[at],
            )
            for at in range(end - begin)
        ]

    @cached_property
    def _old_fused(self) -> dict[str, NDArray[np.float64]]:
        """Each category's fused scores by the rules that the block was stored by."""
        import numpy as np

        rules, fused = self.rules, {}
        for category, limits in rules.old_thresholds.items():
            answers: dict[str, NDArray[np.float64]] = {}
            for index, one in enumerate(rules.provenance["detectors"]):
                scores = self.block.column(score_column(index, one["name"], category))
                # Detectors of one name speak with one voice, the highest, as `score_block` has it.
                answers[one["name"]] = np.fmax(answers.get(one["name"], scores), scores)
            fused[category] = fuse_arrays(
                answers, rules.old_fusion, len(self._times), limits.calibration
            )
        return fused


def _windows(
    first: Sequence[Sample], thresholds: Mapping[str, Thresholds], every_s: float
) -> list[Window]:
    """Where a scan by these thresholds samples more densely."""
    review = {name: one.review for name, one in for_source(thresholds, first).items()}
    return windows_to_refine(first, review, every_s)


def was_refined(
    window: Window, windows: Sequence[Window], old: Sequence[Window], step_s: float
) -> bool:
    """Whether a refinement of the `old` windows took the frames that one of `windows` would take.

    Frames are at least `step_s` apart from the window's start on. So it must start where an old one
    did, and end within it; and what was taken just before it must have been taken as well.
    """
    for at, one in enumerate(old):
        if abs(one.start_s - window.start_s) <= _SAME_WINDOW_S:
            before = old[at - 1] if at else None
            return window.end_s <= one.end_s + _SAME_WINDOW_S and (
                before is None or before in windows or one.start_s - before.end_s >= step_s
            )
    return False


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]


def _ranges(begins: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers from each begin on, `lengths` of them, end to end."""
    import numpy as np

    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.asarray(np.arange(total) + np.repeat(begins - (ends - lengths), lengths), np.int64)
