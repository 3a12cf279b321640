"""The endpoint protocol's request and answer: a batch of JPEG frames in, scores out. Pure."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

MAX_FRAMES = 512


class BadRequestError(ValueError):
    """The body is no batch of frames; the message says where."""


def parse_request(body: bytes | str) -> list[bytes]:
    """Take the JPEG frames from a request's body.

    Understood: {"input_data": {"columns": ["image"], "index": [0], "data": [["<base64>"]]}},
    the same under "dataframe_split", and {"input_data": ["<base64>"]}. Raises BadRequestError.
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        raise BadRequestError("the body is no JSON") from None
    if not isinstance(document, dict):
        raise BadRequestError("the body is no JSON object")
    table = document.get("input_data", document.get("dataframe_split"))
    if isinstance(table, dict):
        table = _image_column(table)
    if not isinstance(table, list):
        raise BadRequestError('the body has no "input_data"')
    if len(table) > MAX_FRAMES:
        raise BadRequestError(f"{len(table)} frames are more than {MAX_FRAMES} in one request")
    return [decode_cell(cell, number) for number, cell in enumerate(table)]


def decode_cell(cell: Any, number: int) -> bytes:
    """Take one frame from its base64. Raises BadRequestError."""
    if not isinstance(cell, str | bytes):
        raise BadRequestError(f"frame {number} is no base64 text")
    try:
        return base64.b64decode(cell, validate=True)
    except (binascii.Error, ValueError):
        raise BadRequestError(f"frame {number} is no base64 text") from None


def _image_column(table: dict[str, Any]) -> list[Any]:
    columns, rows = table.get("columns", ["image"]), table.get("data")
    if not isinstance(columns, list) or "image" not in columns:
        raise BadRequestError('"input_data" has no column "image"')
    if not isinstance(rows, list):
        raise BadRequestError('"input_data" has no list "data"')
    place = columns.index("image")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(columns):
            raise BadRequestError(f"row {number} of the data does not fit the columns")
    return [row[place] for row in rows]
