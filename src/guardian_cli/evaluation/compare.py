"""Two sets of results side by side: whose verdict flipped, by how much, and why. Pure.

Results are elements of guardian.scan/1, as dictionaries.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import UsageError
from guardian_cli.reports.elements import score_of, thresholds_of
from guardian_cli.reports.results_file import key_of
from guardian_cli.verdict.policy import WORST_FIRST
from guardian_cli.verdict.thresholds import format_score

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from guardian_cli.verdict.result import Outcome

    Json = Mapping[str, Any]

FLAGGED = ("review", "block")


@dataclass(frozen=True, slots=True)
class Flip:
    """A source whose verdict is another now. `why` is one line of what changed.

    `distance` is how far apart the verdicts are, of allow, review, error, block; `score_change` the
    largest change of a category's score, nothing counting as 0. `right` says which side agrees with
    more labels, None where there are none or both agree with as many.
    """

    source: str
    old: Outcome
    new: Outcome
    why: str
    distance: int
    score_change: float
    right: str | None = None


@dataclass(frozen=True, slots=True)
class McNemar:
    """How often each side agreed with a label, and whether one does so more often.

    `p_value` is of the exact test (McNemar, 1947): of the labels on which only one side is right,
    were each side right with probability 1/2, as few or fewer would be either's.
    """

    labels: int
    both_right: int
    old_right: int
    new_right: int
    both_wrong: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of it; `flips` with the furthest first, sources by name elsewhere.

    `other_content` are sources of one name whose content is another: they are not compared, and are
    counted on neither side. `renamed` counts contents that both sides have under different names.
    """

    compared: int
    flips: tuple[Flip, ...]
    only_old: tuple[str, ...] = ()
    only_new: tuple[str, ...] = ()
    other_content: tuple[str, ...] = ()
    renamed: int = 0
    mcnemar: McNemar | None = None


@dataclass(frozen=True, slots=True)
class FlipLimit:
    """How many flips are allowed: a number, or a share in 0..1 of the sources compared."""

    text: str
    number: float
    is_share: bool

    @classmethod
    def parse(cls, text: str) -> FlipLimit:
        """Read `3` or `2.5%`. Raises UsageError for anything else."""
        found = re.fullmatch(r"\s*(\d+)\s*|\s*(\d+(?:\.\d+)?)\s*%\s*", text)
        if found is None or float(found[2] or 0) > 100:
            raise UsageError(
                f"max flips {text!r}: neither a number nor a percentage", hint="--max-flips 2%"
            )
        if found[1]:
            return cls(text.strip(), int(found[1]), is_share=False)
        return cls(text.strip(), float(found[2]) / 100, is_share=True)

    def is_exceeded(self, comparison: Comparison) -> bool:
        """Whether too many flipped; where nothing was compared nothing says that few did."""
        # 2% of 50 is 1, however 0.02 is rounded.
        allowed = self.number * (comparison.compared + 1e-9) if self.is_share else self.number
        return comparison.compared == 0 or len(comparison.flips) > allowed


def compare_results(
    old: Iterable[Json],
    new: Iterable[Json],
    *,
    labels: Mapping[str, Mapping[str, bool]] | None = None,
) -> Comparison:
    """Compare the results of the same sources: of one key, and of one content where it is known.

    `labels` say by key and category what is positive. An error is a verdict like any other.
    """
    before = {key_of(one): one for one in old}
    after = {key_of(one): one for one in new}
    compared = 0
    flips: list[Flip] = []
    other_content: list[str] = []
    # Of each label: whether the old side agrees with it, whether the new one does.
    agreed: list[tuple[bool, bool]] = []
    for key in before.keys() & after.keys():
        one, other = before[key], after[key]
        # Where one side has no digest, as of a stream, the name has to do.
        digests = {one.get("sha256"), other.get("sha256")} - {None}
        if len(digests) > 1:
            other_content.append(str(one["source"]))
            continue
        compared += 1
        own = [
            (agrees(one, category, positive), agrees(other, category, positive))
            for category, positive in (labels or {}).get(key, {}).items()
        ]
        agreed += own
        if one["verdict"] != other["verdict"]:
            # The side that agrees with more of the source's labels is right about the source.
            margin = sum(right for _, right in own) - sum(right for right, _ in own)
            flips.append(_flip(one, other, ("new" if margin > 0 else "old") if margin else None))
    only_old = {key: before[key] for key in before.keys() - after.keys()}
    only_new = {key: after[key] for key in after.keys() - before.keys()}
    contents = [
        {one.get("sha256") for one in side.values()} - {None} for side in (only_old, only_new)
    ]
    return Comparison(
        compared,
        tuple(sorted(flips, key=lambda flip: (-flip.distance, -flip.score_change, flip.source))),
        tuple(sorted(str(one["source"]) for one in only_old.values())),
        tuple(sorted(str(one["source"]) for one in only_new.values())),
        tuple(sorted(other_content)),
        len(contents[0] & contents[1]),
        None if labels is None else mcnemar(agreed),
    )


def agrees(result: Json, category: str, positive: bool) -> bool:
    """Whether a result says of a category what a label says: review or block, or else allow.

    What could not be scanned or scored agrees with no label.
    """
    if result["verdict"] == "error" or score_of(result, category) is None:
        return False
    return (result["categories"][category]["verdict"] in FLAGGED) == positive


def mcnemar(agreed: Iterable[tuple[bool, bool]]) -> McNemar:
    """Count pairs (old agrees with the label, new does), and test whether one side does so more."""
    from scipy.stats import binomtest

    pairs = list(agreed)
    old_right, new_right = pairs.count((True, False)), pairs.count((False, True))
    split = old_right + new_right
    return McNemar(
        len(pairs),
        pairs.count((True, True)),
        old_right,
        new_right,
        pairs.count((False, False)),
        # Where they never differ, nothing tells them apart.
        float(binomtest(old_right, split, 0.5).pvalue) if split else 1.0,
    )


def _flip(old: Json, new: Json, right: str | None) -> Flip:
    rank = WORST_FIRST.index
    # Where no cause can be told, what each side says of itself.
    said = ["; ".join(side.get("reasons") or ()) or "none" for side in (old, new)]
    return Flip(
        str(new["source"]),
        old["verdict"],
        new["verdict"],
        "; ".join(_causes(old, new)) or f"reasons {said[0]} -> {said[1]}",
        abs(rank(old["verdict"]) - rank(new["verdict"])),
        max((abs(change) for change in _score_changes(old, new).values()), default=0.0),
        right,
    )


def _score_changes(old: Json, new: Json) -> dict[str, float]:
    """By how much each category's score changed, the most first; no score counts as 0."""
    sides = [
        {name: one.get("score") or 0.0 for name, one in (side.get("categories") or {}).items()}
        for side in (old, new)
    ]
    changes = {
        name: sides[1].get(name, 0.0) - sides[0].get(name, 0.0) for name in sides[0] | sides[1]
    }
    return dict(sorted(changes.items(), key=lambda change: -abs(change[1])))


def _causes(old: Json, new: Json) -> Iterator[str]:
    """What could have made the difference, the nearest first: each a short line."""
    if old["verdict"] == "error" or new["verdict"] == "error":
        said = [
            f"{(side.get('error') or {}).get('kind')} ({(side.get('error') or {}).get('message')})"
            if side["verdict"] == "error"
            else "none"
            for side in (old, new)
        ]
        yield f"error {said[0]} -> {said[1]}"
        return
    categories = [side.get("categories") or {} for side in (old, new)]
    for name in _score_changes(old, new):
        if not all(name in side for side in categories):
            yield f"category {name} only in {'old' if name in categories[0] else 'new'}"
            continue
        if categories[0][name]["verdict"] == categories[1][name]["verdict"]:
            continue
        limits = [thresholds_of(side, name) for side in (old, new)]
        scores = [score_of(side, name) for side in (old, new)]
        # As they are shown, not as they are: what no reader could see is no reason.
        shown = [
            "unscored" if score is None else format_score(score, own)
            for score, own in zip(scores, limits, strict=True)
        ]
        if shown[0] != shown[1]:
            yield f"score {name} {shown[0]} -> {shown[1]}"
        for edge in ("review", "block"):
            ends = [getattr(own, edge, None) for own in limits]
            if ends[0] != ends[1]:
                told = ["none" if end is None else f"{end:g}" for end in ends]
                yield f"threshold {name} {edge} {told[0]} -> {told[1]}"
    # Coverage, health and policy raise a verdict without any score having changed.
    coverage = [_coverage(side) for side in (old, new)]
    if coverage[0] != coverage[1]:
        yield f"coverage {coverage[0]} -> {coverage[1]}"
    health = [_health(side) for side in (old, new)]
    if health[0] != health[1]:
        yield f"degraded {health[0]} -> {health[1]}"
    policies = [(side.get("made") or {}).get("policy") or {} for side in (old, new)]
    for rule in policies[0]:
        if rule in policies[1] and policies[0][rule] != policies[1][rule]:
            yield f"policy {rule} {policies[0][rule]} -> {policies[1][rule]}"


def _coverage(result: Json) -> str:
    """`complete`, or why not, in the words of the result's own reasons."""
    if (result.get("coverage") or {}).get("complete", True):
        return "complete"
    said = [one for one in result["reasons"] if one.startswith("incomplete: ")]
    return said[0] if said else "incomplete"


def _health(result: Json) -> str:
    if not result.get("degraded"):
        return "no"
    said = [one for one in result["reasons"] if one.startswith(("degraded: ", "misconfigured: "))]
    return f"yes ({', '.join(said)})" if said else "yes"
