"""Who answers a request: traffic dealt like cards, so that 90/10 is 90/10. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping


class TrafficDeck:
    """Deals deployments: any hundred in a row from one deck hold each as often as its percentage.

    Shuffled, because a strict every-tenth would always meet the same beat of a regular client.
    """

    def __init__(self, weights: Mapping[str, int], rng: random.Random) -> None:
        counts = {name: weight for name, weight in sorted(weights.items()) if weight > 0}
        divisor = math.gcd(*counts.values()) if counts else 1
        self._cards = [name for name, weight in counts.items() for _ in range(weight // divisor)]
        self._rng = rng
        self._left: list[str] = []

    def draw(self) -> str | None:
        """Deal the next deployment, or None when none has traffic."""
        if not self._cards:
            return None
        if not self._left:
            self._left = self._cards.copy()
            self._rng.shuffle(self._left)
        return self._left.pop()
