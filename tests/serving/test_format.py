from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.serving.format import (
    CARD_NAME,
    WEIGHTS_NAME,
    FormatError,
    ModelCard,
    find_artifact,
    read_card,
    write_card,
)
from guardian_cli.serving.model import load_model
from tests.serving.models import CARD, draw_jpeg, save_constant_model

if TYPE_CHECKING:
    from pathlib import Path


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    card = replace(CARD, temperature=1.7, bias=-0.2, threshold=0.31, data_digest="sha256:ab")
    write_card(tmp_path, card)
    assert read_card(tmp_path) == card


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "guardian.model/9"}, "guardian.model/9"),
        ({"views": "centre"}, "views"),
        ({"input_px": 4}, "input_px"),
        ({"temperature": 0}, "temperature"),
        ({"threshold": 1.2}, "threshold"),
        ({"threshold": -0.1}, "threshold"),
        ({"std": [1, 1, 0]}, "std"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_card_that_makes_no_sense_is_named(
    tmp_path: Path, change: dict[str, object], word: str
) -> None:
    write_card(tmp_path, CARD)
    path = tmp_path / CARD_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FormatError, match=word) as caught:
        read_card(tmp_path)
    assert CARD_NAME in str(caught.value)


UNIT = st.floats(0.0, 1.0)


@given(UNIT, UNIT, UNIT)
def test_the_threshold_becomes_one_half_and_the_order_stays(
    threshold: float, one: float, other: float
) -> None:
    card = replace(CARD, threshold=threshold)
    assert (card.to_score(0.0), card.to_score(1.0)) == (0.0, 1.0)
    for probability in (one, other, threshold):
        score = card.to_score(probability)
        assert 0.0 <= score <= 1.0
        if probability not in (0.0, 1.0):
            assert (score >= 0.5) == (probability >= threshold)
    if threshold not in (0.0, 1.0):
        assert card.to_score(threshold) == 0.5
    low, high = sorted((one, other))
    assert card.to_score(low) <= card.to_score(high)


@given(UNIT)
def test_a_card_without_a_threshold_serves_its_probability(probability: float) -> None:
    assert CARD.threshold is None
    assert CARD.to_score(probability) == probability
    assert replace(CARD, threshold=0.5).to_score(probability) == probability


def test_the_artifact_is_found_inside_what_a_platform_mounts(tmp_path: Path) -> None:
    inner = tmp_path / "1" / "model" / "data" / "model"
    inner.mkdir(parents=True)
    write_card(inner, CARD)
    assert find_artifact(tmp_path) == inner
    write_card(tmp_path / "1", CARD)
    with pytest.raises(FormatError, match="2 files"):
        find_artifact(tmp_path)


def test_damaged_weights_and_a_card_of_another_network_are_format_errors(tmp_path: Path) -> None:
    save_constant_model(tmp_path, 0.0)
    write_card(tmp_path, replace(CARD, options={"width": 6}))
    with pytest.raises(FormatError, match="does not fit"):
        load_model(tmp_path)
    write_card(tmp_path, ModelCard("m", "nsfw", "gpt"))
    with pytest.raises(FormatError, match="architecture"):
        load_model(tmp_path)
    (tmp_path / WEIGHTS_NAME).write_bytes(b"not weights")
    with pytest.raises(FormatError, match=WEIGHTS_NAME):
        load_model(tmp_path)


def test_a_clip_head_is_saved_whole_and_needs_no_download(tmp_path: Path) -> None:
    from guardian_cli.serving.format import save_model
    from guardian_cli.serving.networks import build_network

    config = {
        "embed_dim": 16,
        "vision_cfg": {
            "image_size": 32,
            "layers": 1,
            "width": 32,
            "patch_size": 16,
            "head_width": 16,
        },
        "text_cfg": {},
    }
    options = {"clip_config": config, "hidden": 8}
    card = ModelCard("m", "nsfw", "clip-head", options, input_px=32, views="squares")
    network = build_network(card)
    save_model(tmp_path, card, network)
    first, second = load_model(tmp_path).score([draw_jpeg(40), draw_jpeg(200)])
    assert 0.0 < first < 1.0
    assert first != second
