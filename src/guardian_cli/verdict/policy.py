"""From categories to the verdict of a source, and from verdicts to an exit code. Fails closed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from guardian_cli.errors import SourceError
from guardian_cli.verdict.category import judge_category
from guardian_cli.verdict.thresholds import format_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from guardian_cli.config import PolicySection
    from guardian_cli.media.frames import Coverage
    from guardian_cli.verdict.result import CategoryVerdict, DetectorReport, Outcome, Verdict
    from guardian_cli.verdict.thresholds import Thresholds
    from guardian_cli.verdict.timeline import Sample

FailOn = Literal["review", "block", "never"]
WORST_FIRST: tuple[Outcome, ...] = ("block", "error", "review", "allow")
_SEVERITY = {outcome: -rank for rank, outcome in enumerate(WORST_FIRST)}
# Raise it with every change after which the same file and settings can give another result, be it
# in finding frames, in scoring or in judging: stored results are then made again.
DECISIONS = 4
EXIT_BLOCK, EXIT_ERROR, EXIT_REVIEW, EXIT_ALLOW = 11, 3, 10, 0


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """The outcome for one source; `reasons` are short lines, the worst first."""

    verdict: Verdict
    reasons: tuple[str, ...]
    degraded: bool
    categories: Mapping[str, CategoryVerdict]


class _Reason(NamedTuple):
    level: Verdict
    text: str


def judge(
    first: Sequence[Sample],
    refined: Sequence[Sample] = (),
    *,
    thresholds: Mapping[str, Thresholds],
    policy: PolicySection,
    coverage: Coverage,
    every_s: float,
    detectors: Sequence[DetectorReport] = (),
    kind: Literal["video", "image"] = "video",
    offline: bool = False,
    needs_rescan: Sequence[str] = (),
) -> ScanVerdict:
    """Judge one source by the samples of the first pass and of its refinement, if there was one.

    The verdict is the worst category's, raised by the policy. `thresholds` are those of any length;
    which apply is told by how many pictures the first pass saw. With `offline` a detector that is
    unavailable is what the user chose and does not degrade the scan. `needs_rescan` are reasons why
    more would have to be seen, which make it `review` at least. Raises SourceError when there is no
    sample or no category: nothing seen is no verdict.
    """
    if not first or not thresholds:
        raise SourceError("no frame could be judged", kind="no-frames")
    own = for_source(thresholds, first)
    categories = {
        name: judge_category(
            name,
            first,
            refined,
            thresholds=limits,
            unscored=policy.unscored,
            every_s=every_s,
            end_s=max(first[-1].time_s, coverage.duration_s or 0.0),
        )
        for name, limits in own.items()
    }
    return conclude(
        categories,
        policy=policy,
        coverage=coverage,
        detectors=detectors,
        kind=kind,
        offline=offline,
        needs_rescan=needs_rescan,
        remarks=tuple(_under_raised(categories, thresholds, first)),
    )


def conclude(
    categories: Mapping[str, CategoryVerdict],
    *,
    policy: PolicySection,
    coverage: Coverage,
    detectors: Sequence[DetectorReport],
    kind: Literal["video", "image"],
    offline: bool,
    needs_rescan: Sequence[str] = (),
    remarks: Sequence[str] = (),
) -> ScanVerdict:
    """The second half of `judge`: from categories that are judged already to the outcome.

    `remarks` are what else a reader should know, and raise nothing.
    """
    # What was switched off by the user is `off`, and takes nothing from the scan.
    is_lost = {"degraded"} if offline else {"degraded", "unavailable"}
    lost = [detector for detector in detectors if detector.status in is_lost]
    reasons = [
        *_found(categories, kind),
        *_incomplete(coverage, policy),
        *_unscored(categories, detectors, policy),
        *_degraded(lost, policy),
        *(_Reason("review", f"needs a rescan: {why}") for why in needs_rescan),
        *_unconfirmed(categories),
        *(_Reason("allow", remark) for remark in (*remarks, *coverage.remarks)),
    ]
    # Stable: within a level, what was found comes before what is missing.
    reasons.sort(key=lambda reason: -_SEVERITY[reason.level])
    verdicts: list[Verdict] = [outcome.verdict for outcome in categories.values()]
    verdicts += [reason.level for reason in reasons]
    verdict = max(verdicts, key=_SEVERITY.__getitem__)
    return ScanVerdict(verdict, tuple(r.text for r in reasons), bool(lost), categories)


def for_source(
    thresholds: Mapping[str, Thresholds], first: Sequence[Sample]
) -> dict[str, Thresholds]:
    """Return the thresholds for a source by the samples of its first pass."""
    pictures = count_pictures(first)
    return {name: one.for_samples(pictures) for name, one in thresholds.items()}


def count_pictures(first: Sequence[Sample]) -> int:
    """How many pictures the first pass scored: how often a detector could have been wrong.

    Not by the length that a container claims, nor by pictures that stand still: whoever uploads
    would choose a threshold with them.
    """
    return sum(sample.same_as_s is None for sample in first)


def worst(verdicts: Iterable[Outcome]) -> Outcome:
    """Return the verdict of a batch, in the order of the exit codes; of nothing at all, `error`."""
    return max(verdicts, key=_SEVERITY.__getitem__, default="error")


def exit_code(verdicts: Iterable[Outcome], fail_on: FailOn = "review") -> int:
    """Return the first that applies of 11, 3, 10 and 0; `fail_on` says which verdicts count."""
    seen = set(verdicts)
    if "block" in seen and fail_on != "never":
        return EXIT_BLOCK
    # A scan of nothing must not pass.
    if "error" in seen or not seen:
        return EXIT_ERROR
    return EXIT_REVIEW if "review" in seen and fail_on == "review" else EXIT_ALLOW


def _found(categories: Mapping[str, CategoryVerdict], kind: str) -> Iterator[_Reason]:
    """A reason for each category that was found, the highest score first."""
    found = [(name, one) for name, one in categories.items() if one.score is not None]
    for name, one in sorted(found, key=lambda pair: -(pair[1].score or 0.0)):
        if one.verdict == "allow":
            continue
        at_s, score, suffix = one.at_s or 0.0, one.score or 0.0, ""
        segment = next((s for s in one.segments if s.start_s <= at_s <= s.end_s), None)
        if one.is_capped:
            # The score that counts is the threshold itself: what was seen says more.
            score, suffix = segment.peak if segment else 0.0, " (counts for review only)"
        at = f" at {segment.peak_s if segment else at_s:.1f} s" if kind == "video" else ""
        yield _Reason(one.verdict, f"{name} {format_score(score, one.thresholds)}{at}{suffix}")


def _incomplete(coverage: Coverage, policy: PolicySection) -> Iterator[_Reason]:
    """A reason for each cause why a scan is incomplete; none when it is complete."""
    if coverage.complete:
        return
    causes = list(coverage.notes)
    if not causes:
        errors = coverage.decode_errors
        if errors:
            causes.append(f"{errors} decode error{'s' * (errors > 1)}")
        if not coverage.reached_end:
            causes.append("did not reach the end")
        if not causes and coverage.largest_gap_s is not None:
            causes.append(f"nothing scored for {coverage.largest_gap_s:.1f} s")
    for cause in causes or ["not all of it was seen"]:
        yield _Reason(policy.incomplete, f"incomplete: {cause}")


def _unscored(
    categories: Mapping[str, CategoryVerdict],
    detectors: Sequence[DetectorReport],
    policy: PolicySection,
) -> Iterator[_Reason]:
    for name, one in categories.items():
        if one.score is None:
            why = [d for d in detectors if d.category in (None, name) and d.status != "ok"]
            causes = ", ".join(f"{d.label} {d.status}" for d in why) or "no detector scored it"
            yield _Reason(policy.unscored, f"{name} unscored: {causes}")
        elif one.scored < one.samples:
            missing = one.samples - one.scored
            text = f"{name}: {missing} of {one.samples} frames unscored"
            yield _Reason(policy.unscored, text)


def _degraded(lost: Iterable[DetectorReport], policy: PolicySection) -> Iterator[_Reason]:
    for one in lost:
        text = f"{one.label}: {one.reason or one.status}"
        if one.misconfigured:
            level = max(policy.degraded, policy.misconfigured, key=_SEVERITY.__getitem__)
            yield _Reason(level, f"misconfigured: {text}")
        else:
            yield _Reason(policy.degraded, f"degraded: {text}")


def _unconfirmed(categories: Mapping[str, CategoryVerdict]) -> Iterator[_Reason]:
    for name, one in categories.items():
        if one.unconfirmed:
            at_s, score = one.unconfirmed[0]
            more = f", nor {len(one.unconfirmed) - 1} more" if len(one.unconfirmed) > 1 else ""
            shown = format_score(score, one.thresholds)
            yield _Reason("allow", f"{name} {shown} at {at_s:.1f} s was not confirmed{more}")


def _under_raised(
    categories: Mapping[str, CategoryVerdict],
    thresholds: Mapping[str, Thresholds],
    first: Sequence[Sample],
) -> Iterator[str]:
    """What a shorter video would have been reviewed for."""
    for name, one in categories.items():
        if one.score is None or one.thresholds is None or one.verdict != "allow":
            continue
        if one.score >= thresholds[name].review:
            raised = (
                f"{one.thresholds.review:.2f}, which is review for {count_pictures(first)} samples"
            )
            at = f" at {one.at_s:.1f} s" if one.at_s is not None else ""
            shown = format_score(one.score, one.thresholds)
            yield f"{name} {shown}{at} is below {raised}"
