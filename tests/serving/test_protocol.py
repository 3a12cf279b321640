from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.serving.protocol import MAX_FRAMES, BadRequestError, parse_request


def request(frames: list[bytes], **more: Any) -> str:
    rows = [[base64.b64encode(frame).decode()] for frame in frames]
    table = {"columns": ["image"], "index": list(range(len(rows))), "data": rows, **more}
    return json.dumps({"input_data": table})


@given(st.lists(st.binary(max_size=50), max_size=20))
def test_frames_arrive_as_they_were_sent(frames: list[bytes]) -> None:
    assert parse_request(request(frames)) == frames
    assert parse_request(request(frames).replace("input_data", "dataframe_split")) == frames


def test_the_image_is_found_among_other_columns() -> None:
    body = {"input_data": {"columns": ["id", "image"], "data": [[7, "AAE="]]}}
    assert parse_request(json.dumps(body)) == [b"\x00\x01"]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("", "JSON"),
        ("[" * 100_000, "JSON"),
        ("[1]", "object"),
        ("{}", "input_data"),
        ('{"input_data": {"columns": ["photo"], "data": [["AA=="]]}}', "image"),
        ('{"input_data": {"columns": ["image"], "data": 5}}', "list"),
        ('{"input_data": {"columns": ["image"], "data": [[]]}}', "row 0"),
        ('{"input_data": {"columns": ["image"], "data": [["AAE="], [5]]}}', "frame 1"),
        ('{"input_data": ["%%%"]}', "frame 0"),
        (request([b""] * (MAX_FRAMES + 1)), "more than"),
    ],
)
def test_a_body_that_is_no_batch_says_why(body: str, word: str) -> None:
    with pytest.raises(BadRequestError, match=word):
        parse_request(body)


@given(st.binary(max_size=200))
def test_no_body_does_more_than_be_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        parse_request(body)
