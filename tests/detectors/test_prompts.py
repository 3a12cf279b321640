from __future__ import annotations

import pytest

from guardian_cli.prompts import DEFAULT_CATEGORIES, READY, ReadyCategory


def test_the_categories_that_are_ready() -> None:
    assert DEFAULT_CATEGORIES == ("nsfw", "violence")
    later = ("gore", "weapons", "self-harm", "drugs", "hate-symbols", "alcohol", "tobacco")
    assert tuple(READY) == (*DEFAULT_CATEGORIES, *later)


@pytest.mark.parametrize("ready", READY.values(), ids=READY.keys())
def test_ensembles_are_of_a_size_and_say_everything_once(ready: ReadyCategory) -> None:
    for side in ready.prompts:
        assert 12 <= len(side) <= 20
        assert all(prompt == prompt.strip() and prompt for prompt in side)
    everything = [*ready.prompts.positive, *ready.prompts.negative]
    assert len(set(everything)) == len(everything)
    assert 0 < ready.review < ready.block < 1
