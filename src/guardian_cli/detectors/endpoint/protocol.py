"""The endpoint protocol: frames into a request's body, a response's body into scores."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


class BadAnswerError(ValueError):
    """The endpoint answered something that is no score in 0..1 for each frame."""


def is_deployment_name(text: str) -> bool:
    """Whether a deployment may have this name, so that it can stand in a header and in a report."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) is not None


def build_body(jpegs: Sequence[bytes]) -> bytes:
    """Return the JSON body that MLflow's servers read: one column, one row for each JPEG."""
    rows = [[base64.b64encode(jpeg).decode("ascii")] for jpeg in jpegs]
    table = {"columns": ["image"], "index": list(range(len(rows))), "data": rows}
    return json.dumps({"input_data": table}).encode("ascii")


def pack(jpegs: Sequence[bytes], max_frames: int, max_bytes: int) -> list[list[bytes]]:
    """Split frames, in order, into requests of at most `max_frames` and `max_bytes` of base64.

    A frame that is larger than `max_bytes` by itself travels alone.
    """
    groups: list[list[bytes]] = []
    group_bytes = 0
    for jpeg in jpegs:
        size_bytes = 4 * ((len(jpeg) + 2) // 3)
        if not groups or len(groups[-1]) >= max_frames or group_bytes + size_bytes > max_bytes:
            groups.append([])
            group_bytes = 0
        groups[-1].append(jpeg)
        group_bytes += size_bytes
    return groups


def read_scores(body: bytes, count: int, category: str) -> tuple[float, ...]:
    """Return `count` scores in 0..1, in the order of the frames.

    Understood: a list, or `{"predictions": list}` or `{"scores": list}`; items are a number, a
    list of one number, or a mapping with the category's name. Raises BadAnswerError for all else.
    """
    try:
        # Python's parser also takes NaN and Infinity, which are no JSON.
        answer = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse_constant)
        if isinstance(answer, str):
            # A scoring script that returns json.dumps(…) is encoded twice.
            answer = json.loads(answer, parse_constant=_refuse_constant)
    except BadAnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise BadAnswerError("the answer is not JSON") from error
    if isinstance(answer, dict):
        found = [answer[name] for name in ("predictions", "scores") if name in answer]
        if len(found) != 1:
            raise BadAnswerError("the answer has neither 'predictions' nor 'scores', or both")
        answer = found[0]
    if not isinstance(answer, list):
        raise BadAnswerError("the answer is not a list of scores")
    if len(answer) != count:
        raise BadAnswerError(f"{len(answer)} scores for {count} frames")
    return tuple(_read_score(item, category) for item in answer)


def _refuse_constant(name: str) -> NoReturn:
    raise BadAnswerError(f"a score is {name}")


def _read_score(item: Any, category: str) -> float:
    if isinstance(item, dict):
        if category not in item:
            raise BadAnswerError(f"an item of the answer has no {category!r}")
        item = item[category]
    elif isinstance(item, list) and len(item) == 1:
        item = item[0]
    # To Python, True is the number 1.
    if isinstance(item, bool) or not isinstance(item, int | float):
        raise BadAnswerError("an item of the answer is not a number")
    if not 0 <= item <= 1:
        raise BadAnswerError("a score is outside 0..1")
    return float(item) + 0.0  # -0.0 becomes 0.0
