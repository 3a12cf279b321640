"""How grave a verdict is, in the words and numbers that other tools sort by.

The numbers are those of CVSS, which GitHub and others read from SARIF's `security-severity`: medium
from 4.0, high from 7.0, critical from 9.0. A verdict is a band, the score says where in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from guardian_cli.verdict.result import Outcome
    from guardian_cli.verdict.thresholds import Thresholds

REVIEW_FROM, BLOCK_FROM, CRITICAL_FROM, HIGHEST = 4.0, 7.0, 9.0, 10.0


class Severity(NamedTuple):
    """A word, and a number from 0.0 to 10.0; `unknown` and None for what could not be scanned."""

    word: str
    number: float | None


def severity(
    verdict: Outcome, score: float | None = None, thresholds: Thresholds | None = None
) -> Severity:
    """Return the severity of a verdict; a score raises it within the verdict's band.

    `review` goes from 4.0 at the review threshold to 6.9 just below the block threshold, `block`
    from 7.0 to 10.0 at a score of 1, critical from 9.0. Without a score it is the band's lower end.
    """
    if verdict == "error":
        return Severity("unknown", None)
    if verdict == "allow":
        return Severity("none", 0.0)
    # CVSS has one decimal: 6.9 is the last number that is medium.
    low, high = (BLOCK_FROM, HIGHEST) if verdict == "block" else (REVIEW_FROM, BLOCK_FROM - 0.1)
    share = 0.0
    if score is not None and thresholds is not None:
        ends = (
            (thresholds.block, 1.0) if verdict == "block" else (thresholds.review, thresholds.block)
        )
        share = min(1.0, max(0.0, (score - ends[0]) / max(ends[1] - ends[0], 1e-9)))
    number = round(low + share * (high - low), 1)
    if verdict == "review":
        return Severity("medium", number)
    return Severity("critical" if number >= CRITICAL_FROM else "high", number)
