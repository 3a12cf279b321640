"""What is sent, and what counts as an answer."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.detectors.endpoint.protocol import BadAnswerError, build_body, pack, read_scores

SCORES = st.lists(st.floats(0, 1) | st.integers(0, 1), max_size=9)
WRAPPINGS = {
    "bare": lambda items: items,
    "predictions": lambda items: {"predictions": items},
    "scores": lambda items: {"scores": items, "model_version": "3"},
    "encoded twice": json.dumps,
}
ITEMS = {
    "number": lambda score: score,
    "mapping": lambda score: {"nsfw": score, "violence": 0.5},
    "column": lambda score: [score],
}


def test_the_body_is_mlflows_table() -> None:
    body = json.loads(build_body([b"first", b"second"]))
    assert body == {
        "input_data": {
            "columns": ["image"],
            "index": [0, 1],
            "data": [
                [base64.b64encode(b"first").decode()],
                [base64.b64encode(b"second").decode()],
            ],
        }
    }


@pytest.mark.slow
@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("item", ITEMS.values(), ids=ITEMS)
@given(scores=SCORES)
def test_every_understood_shape_gives_the_same_scores(
    wrap: Any, item: Any, scores: list[float]
) -> None:
    body = json.dumps(wrap([item(score) for score in scores])).encode()
    read = read_scores(body, len(scores), "nsfw")
    assert list(read) == scores
    assert all(type(score) is float and math.copysign(1, score) == 1 for score in read)


@given(scores=SCORES, off=st.integers(-3, 3).filter(bool))
def test_the_wrong_count_is_no_answer(scores: list[float], off: int) -> None:
    with pytest.raises(BadAnswerError, match="frames"):
        read_scores(json.dumps(scores).encode(), len(scores) + off, "nsfw")


@given(wrong=st.floats(max_value=-1e-9) | st.floats(min_value=1 + 1e-9) | st.integers(min_value=2))
def test_out_of_range_is_no_answer(wrong: float) -> None:
    with pytest.raises(BadAnswerError):
        read_scores(json.dumps([0.5, wrong]).encode(), 2, "nsfw")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"0.5",
        b"true",
        b"<html>busy</html>",
        b'"ok"',
        b'"\\"[0.5]\\""',
        b"\xff\xfe\x00",
        b"[0.5",
        b"[NaN]",
        b"[Infinity]",
        b"[-Infinity]",
        b"[1e999]",
        b"[true]",
        b"[null]",
        b'["0.5"]',
        b"[[0.1, 0.9]]",
        b"[[]]",
        b"[[[0.5]]]",
        b'[{"violence": 0.5}]',
        b'[{"nsfw": "0.5"}]',
        b'[{"nsfw": [0.5]}]',
        b'[{"nsfw": true}]',
        b"[{}]",
        b"{}",
        b'{"predictions": 0.5}',
        b'{"predictions": {"nsfw": 0.5}}',
        b'{"predictions": [0.1], "scores": [0.9]}',
        b'{"error": "no model"}',
        b"[" * 100_000,
        b"[" + b"9" * 5000 + b"]",
    ],
)
def test_nonsense_is_no_answer(body: bytes) -> None:
    with pytest.raises(BadAnswerError):
        read_scores(body, 1, "nsfw")


@pytest.mark.slow
@given(
    body=st.binary()
    | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
        lambda value: json.dumps(value).encode()
    )
)
def test_any_body_gives_scores_in_range_or_a_bad_answer(body: bytes) -> None:
    try:
        scores = read_scores(body, 1, "nsfw")
    except BadAnswerError:
        return
    assert len(scores) == 1
    assert 0.0 <= scores[0] <= 1.0


@given(
    sizes=st.lists(st.integers(0, 300), max_size=30),
    max_frames=st.integers(1, 9),
    max_bytes=st.integers(1, 800),
)
def test_packing_keeps_order_and_limits(sizes: list[int], max_frames: int, max_bytes: int) -> None:
    jpegs = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    groups = pack(jpegs, max_frames, max_bytes)
    assert [jpeg for group in groups for jpeg in group] == jpegs
    for group in groups:
        assert 1 <= len(group) <= max_frames
        size_bytes = sum(len(base64.b64encode(jpeg)) for jpeg in group)
        assert len(group) == 1 or size_bytes <= max_bytes
