"""From categories to the verdict of a source, and from verdicts to an exit code. Fails closed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from guardian_cli.errors import SourceError
from guardian_cli.verdict.category import CategoryVerdict, Verdict, judge_category
from guardian_cli.verdict.closeness import show_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guardian_cli.detectors.base import Status
    from guardian_cli.media.frames import DecodeTally
    from guardian_cli.verdict.category import CategoryLimits
    from guardian_cli.verdict.timeline import Sample

Outcome = Literal["allow", "review", "block", "error"]
FailOn = Literal["review", "block", "never"]
_SEVERITY: dict[Outcome, int] = {"allow": 0, "review": 1, "error": 2, "block": 3}
# Raise it with every change after which the same file and settings can give another result, be it
# in finding frames, in scoring or in judging: results that were stored before are made again then.
DECISIONS = 2
EXIT_BLOCK, EXIT_ERROR, EXIT_REVIEW, EXIT_ALLOW = 11, 3, 10, 0


class PolicyRules(Protocol):
    """The section `policy` of the configuration: the least verdict when something is missing."""

    @property
    def incomplete(self) -> Verdict:
        """When not all of the source could be seen."""

    @property
    def unscored(self) -> Verdict:
        """When a category could not be scored, or not on every frame."""

    @property
    def degraded(self) -> Verdict:
        """When a detector failed or is missing."""

    @property
    def misconfigured(self) -> Verdict:
        """When it failed for a wrong key, address or request, which no waiting mends."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The default rules."""

    incomplete: Verdict = "review"
    unscored: Verdict = "review"
    degraded: Verdict = "allow"
    misconfigured: Verdict = "review"


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """What became of a detector on one source; `frames` counts those it scored there.

    `deployments` counts them by who answered. `misconfigured` says why it is degraded: a wrong key,
    address or request.
    """

    name: str
    category: str | None
    model: str | None
    status: Status
    reason: str | None = None
    frames: int = 0
    deployments: Mapping[str, int] = field(default_factory=dict)
    misconfigured: bool = False


@dataclass(frozen=True, slots=True)
class ScanVerdict:
    """The outcome for one source; `reasons` are short lines, the worst first."""

    verdict: Verdict
    reasons: tuple[str, ...]
    degraded: bool
    categories: Mapping[str, CategoryVerdict]


@dataclass(frozen=True, slots=True)
class _Reason:
    level: Verdict
    text: str


def judge(
    first: Sequence[Sample],
    second: Sequence[Sample] = (),
    *,
    limits: Mapping[str, CategoryLimits],
    policy: PolicyRules,
    tally: DecodeTally,
    every_s: float,
    detectors: Sequence[DetectorReport] = (),
    kind: Literal["video", "image"] = "video",
    offline: bool = False,
) -> ScanVerdict:
    """Judge one source by the samples of the first look and of the second, as far as there was one.

    The verdict is the worst category's, raised by the policy. With `offline` a detector that is
    unavailable is what the user chose and does not degrade the scan. Raises SourceError when there
    is no sample or no category: nothing seen is no verdict.
    """
    if not first or not limits:
        raise SourceError("no frame could be judged", kind="no-frames")
    end_s = max(first[-1].time_s, tally.duration_s or 0.0)
    categories = {
        name: judge_category(
            name,
            first,
            second,
            limits=thresholds,
            unscored=policy.unscored,
            every_s=every_s,
            end_s=end_s,
        )
        for name, thresholds in limits.items()
    }
    lost = [one for one in detectors if _is_lost(one, offline=offline)]
    reasons = [
        *_found(categories, kind),
        *(_Reason(policy.incomplete, f"incomplete: {why}") for why in _missed(tally)),
        *_not_scored(categories, detectors, policy.unscored),
        *(_lost(one, policy) for one in lost),
        *_flashes(categories),
    ]
    reasons.sort(key=lambda reason: -_SEVERITY[reason.level])
    verdicts: list[Verdict] = [outcome.verdict for outcome in categories.values()]
    verdicts += [reason.level for reason in reasons]
    verdict = max(verdicts, key=_SEVERITY.__getitem__)
    return ScanVerdict(verdict, tuple(r.text for r in reasons), bool(lost), categories)


def worst(verdicts: Iterable[Outcome]) -> Outcome:
    """Return the verdict of a batch, in the order of the exit codes; of nothing at all, `error`."""
    return max(verdicts, key=_SEVERITY.__getitem__, default="error")


def exit_code(verdicts: Iterable[Outcome], fail_on: FailOn = "review") -> int:
    """Return the first that applies of 11, 3, 10 and 0; `fail_on` says which verdicts count."""
    seen = set(verdicts)
    if "block" in seen and fail_on != "never":
        return EXIT_BLOCK
    if "error" in seen or not seen:
        return EXIT_ERROR
    return EXIT_REVIEW if "review" in seen and fail_on == "review" else EXIT_ALLOW


def _is_lost(one: DetectorReport, *, offline: bool) -> bool:
    return one.status == "degraded" or (one.status == "unavailable" and not offline)


def _found(categories: Mapping[str, CategoryVerdict], kind: str) -> list[_Reason]:
    """A reason for each category that was found, the highest score first."""
    hot = [(name, one) for name, one in categories.items() if one.score is not None]
    hot.sort(key=lambda pair: -(pair[1].score or 0.0))
    return [
        _Reason(one.verdict, _found_text(name, one, kind))
        for name, one in hot
        if one.verdict != "allow"
    ]


def _found_text(name: str, one: CategoryVerdict, kind: str) -> str:
    found = next((s for s in one.segments if s.start_s <= (one.at_s or 0.0) <= s.end_s), None)
    at_s = found.peak_s if found else one.at_s
    at = f" at {at_s:.1f} s" if kind == "video" and at_s is not None else ""
    if one.is_capped:
        peak = show_score(found.peak if found else 0.0, one.limits)
        return f"{name} {peak}{at} (counts for review only)"
    return f"{name} {show_score(one.score or 0.0, one.limits)}{at}"


def _flashes(categories: Mapping[str, CategoryVerdict]) -> list[_Reason]:
    reasons = []
    for name, one in categories.items():
        if one.flashes:
            at_s, score = one.flashes[0]
            more = f", nor {len(one.flashes) - 1} more" if len(one.flashes) > 1 else ""
            shown = show_score(score, one.limits)
            text = f"{name} {shown} at {at_s:.1f} s was not confirmed{more}"
            reasons.append(_Reason("allow", text))
    return reasons


def _missed(tally: DecodeTally) -> list[str]:
    """Return why a scan is incomplete, one line for each cause; nothing when it is complete."""
    if tally.complete:
        return []
    if tally.notes:
        return list(tally.notes)
    causes = []
    if tally.decode_errors:
        causes.append(f"{tally.decode_errors} decode error{'s' * (tally.decode_errors > 1)}")
    if not tally.reached_end:
        causes.append("did not reach the end")
    if not causes and tally.largest_gap_s is not None:
        causes.append(f"nothing scored for {tally.largest_gap_s:.1f} s")
    return causes or ["not all of it was seen"]


def _not_scored(
    categories: Mapping[str, CategoryVerdict],
    detectors: Sequence[DetectorReport],
    level: Verdict,
) -> list[_Reason]:
    reasons = []
    for name, one in categories.items():
        if one.score is None:
            why = [d for d in detectors if d.category in (None, name) and d.status != "ok"]
            causes = ", ".join(f"{_who(d)} {d.status}" for d in why) or "no detector scored it"
            reasons.append(_Reason(level, f"{name} unscored: {causes}"))
        elif one.scored < one.samples:
            missing = one.samples - one.scored
            reasons.append(_Reason(level, f"{name}: {missing} of {one.samples} frames unscored"))
    return reasons


def _lost(one: DetectorReport, policy: PolicyRules) -> _Reason:
    text = f"{_who(one)}: {one.reason or one.status}"
    if not one.misconfigured:
        return _Reason(policy.degraded, f"degraded: {text}")
    level = max(policy.degraded, policy.misconfigured, key=_SEVERITY.__getitem__)
    return _Reason(level, f"misconfigured: {text}")


def _who(one: DetectorReport) -> str:
    return f"{one.category} {one.name}" if one.name == "endpoint" else one.name
