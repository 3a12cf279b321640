"""Requests and answers, as every part of the stand-in sees them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Request:
    """One request. Names of headers are in small letters; secrets are in there as sent."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None when there is none."""
        return json.loads(self.body) if self.body.strip() else None

    @property
    def place(self) -> str:
        """Host and path: what the patterns of faults are searched in."""
        return self.host + self.path

    def __str__(self) -> str:
        return f"{self.method} https://{self.place} {dict(self.query)}"


@dataclass(frozen=True)
class Response:
    """One answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class RefusedError(Exception):
    """A request that a part of the stand-in refuses: carries the answer."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body)
        self.response = response


def answer(status: int, document: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """Make an answer whose body is a JSON document; no body for None."""
    body = b"" if document is None else json.dumps(document).encode()
    kind = {"Content-Type": "application/json; charset=utf-8"} if body else {}
    return Response(status, body, {**kind, **(headers or {})})


def error_document(code: str, message: str, details: list[Any] | None = None) -> dict[str, Any]:
    """The body of every error of ARM."""
    return {
        "error": {"code": code, "message": message, **({"details": details} if details else {})}
    }


def refuse(status: int, code: str, message: str, details: list[Any] | None = None) -> RefusedError:
    """Make the error that answers as ARM does."""
    return RefusedError(answer(status, error_document(code, message, details)))


def now() -> str:
    """The time as ARM writes it."""
    return datetime.now(UTC).isoformat()
