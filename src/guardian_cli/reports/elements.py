"""What every format asks of an element of guardian.scan/1, answered once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guardian_cli.verdict.policy import WORST_FIRST, worst
from guardian_cli.verdict.severity import Severity, severity
from guardian_cli.verdict.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guardian_cli.verdict.result import Outcome


def mapping(value: Any) -> Mapping[str, Any]:
    """A part of a stored result as a mapping, empty where somebody has put in something else."""
    return value if isinstance(value, dict) else {}


def thresholds_of(element: Mapping[str, Any], category: str) -> Thresholds | None:
    """The thresholds that an element was judged by, None where it does not say."""
    limits = mapping(mapping(mapping(element.get("made")).get("thresholds")).get(category))
    review, block = limits.get("review"), limits.get("block")
    # Stored files pass through other hands and tools: anything may stand here.
    if not isinstance(review, int | float) or not isinstance(block, int | float):
        return None
    return Thresholds(float(review), float(block))


def score_of(element: Mapping[str, Any], category: str) -> float | None:
    """A category's score; None where it has none, or where it was not looked for."""
    score: float | None = mapping(mapping(element.get("categories")).get(category)).get("score")
    return score


def gravest_first(element: Mapping[str, Any]) -> list[str]:
    """The categories by verdict and score."""
    categories = element["categories"]

    def rank(name: str) -> tuple[int, float]:
        return WORST_FIRST.index(categories[name]["verdict"]), -(categories[name]["score"] or 0.0)

    return sorted(categories, key=rank)


def worst_category(element: Mapping[str, Any]) -> str | None:
    """The category with the gravest verdict and of those the highest score; None without any."""
    return next(iter(gravest_first(element)), None)


def category_severity(element: Mapping[str, Any], category: str) -> Severity:
    """The severity of one category's verdict."""
    one = element["categories"][category]
    return severity(one["verdict"], one["score"], thresholds_of(element, category))


def source_severity(element: Mapping[str, Any]) -> Severity:
    """The severity of a source: its gravest category's, or its verdict's where policy raised it."""
    # Of a verdict that policy has raised there is no category with it.
    found = [
        category_severity(element, name)
        for name, one in element["categories"].items()
        if one["verdict"] == element["verdict"]
    ]
    return max(found, key=lambda one: one.number or 0.0, default=severity(element["verdict"]))


def whole_verdict(
    elements: Iterable[Mapping[str, Any]], *, is_partial: bool, is_empty: bool
) -> Outcome:
    """The verdict of a batch; `is_partial` says that not all of it was scanned.

    `is_empty` says that there was nothing to scan, as in a part of one that holds no source.
    """
    if is_empty and not is_partial:
        return "allow"
    # What nobody has scanned cannot be allowed.
    lost: list[Outcome] = ["error"] if is_partial else []
    return worst([*(element["verdict"] for element in elements), *lost])


def worst_first(elements: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Elements by verdict, severity and highest score."""

    def rank(element: Mapping[str, Any]) -> tuple[int, float, float]:
        scores = [one["score"] or 0.0 for one in element["categories"].values()]
        number = source_severity(element).number or 0.0
        return WORST_FIRST.index(element["verdict"]), -number, -max(scores, default=0.0)

    return sorted(elements, key=rank)
