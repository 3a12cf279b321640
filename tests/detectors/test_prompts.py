from __future__ import annotations

import pytest

from guardian_cli.prompts import DEFAULT_PROMPTS, Prompts


def test_the_two_default_categories_have_prompts() -> None:
    assert set(DEFAULT_PROMPTS) == {"nsfw", "violence"}


@pytest.mark.parametrize("prompts", DEFAULT_PROMPTS.values(), ids=DEFAULT_PROMPTS.keys())
def test_ensembles_are_of_a_size_and_say_everything_once(prompts: Prompts) -> None:
    for side in prompts:
        assert 8 <= len(side) <= 20
        assert all(prompt == prompt.strip() and prompt for prompt in side)
    everything = [*prompts.positive, *prompts.negative]
    assert len(set(everything)) == len(everything)
