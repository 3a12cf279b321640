"""The server's HTTP face: POST /score, GET /health, and the control that only guardian calls."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette  # noqa: TID253 - a leaf: only the server imports it
from starlette.responses import JSONResponse  # noqa: TID253 - as above
from starlette.routing import Route  # noqa: TID253 - as above

from guardian_cli.http import DEPLOYMENT_HEADER
from guardian_cli.serving.images import BadFrameError
from guardian_cli.serving.protocol import BadRequestError, parse_request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import ThreadPoolExecutor

    from starlette.requests import Request

    from guardian_cli.lifecycle.local.fleet import Routing, Served


MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_WAITING = 256
SCORE_TIMEOUT_S = 120.0


class _TooLargeError(Exception):
    pass


@dataclass
class Door:
    """What the requests share; `routing` and `key` are replaced whole by a reload."""

    instance: str
    control: str
    key: str
    routing: Routing
    pool: ThreadPoolExecutor
    reload: Callable[[], Awaitable[dict[str, Any]]]
    stop: Callable[[], None]
    waiting: int = 0
    answered: int = 0
    timeout_s: float = SCORE_TIMEOUT_S

    def leave(self) -> None:
        """One less waits for the pool."""
        self.waiting -= 1


def build_app(door: Door) -> Starlette:
    """Build the ASGI application over a door."""

    async def score(request: Request) -> JSONResponse:
        if not holds(request, door.key):
            return refuse(401, "the key is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if door.waiting >= MAX_WAITING:
            return refuse(429, "too many requests are waiting", {"Retry-After": "1"})
        door.waiting += 1
        try:
            body = await read_body(request)
            return await route(door, request.headers.get(DEPLOYMENT_HEADER), body)
        except _TooLargeError:
            return refuse(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
        finally:
            door.waiting -= 1
            door.answered += 1

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "instance": door.instance})

    async def control(request: Request) -> JSONResponse:
        if not holds(request, door.control):
            return refuse(401, "this is not for you")
        if request.path_params["action"] == "stop":
            door.stop()
            return JSONResponse({})
        return JSONResponse(await door.reload())

    routes = [
        Route("/score", score, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
        Route("/control/{action:str}", control, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def holds(request: Request, key: str) -> bool:
    """Whether a request carries the key, compared in constant time."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), key.encode())
    return same and scheme.lower() == "bearer" and bool(key)


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer with a reason."""
    return JSONResponse({"message": message}, status_code=status, headers=headers)


async def read_body(request: Request) -> bytes:
    """Read the body, up to MAX_BODY_BYTES of it."""
    if int(request.headers.get("content-length", "0")) > MAX_BODY_BYTES:
        raise _TooLargeError
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _TooLargeError
        parts.append(part)
    return b"".join(parts)


async def route(door: Door, wanted: str | None, body: bytes) -> JSONResponse:
    """Choose the deployment, let it score in the pool, answer with its name in the header."""
    routing = door.routing
    name = wanted or routing.deck.draw()
    served = routing.served.get(name) if name else None
    if name is None:
        return refuse(404, "no deployment has traffic")
    if served is None:
        return refuse(404, f"there is no deployment {name}")
    queued = door.pool.submit(answer, served, body)
    work = asyncio.wrap_future(queued)
    try:
        status, document = await asyncio.wait_for(asyncio.shield(work), door.timeout_s)
    except TimeoutError:
        # Nobody waits for it any more; what is being scored already ends by itself, and counts
        # among those that wait until it does.
        if not queued.cancel():
            door.waiting += 1
            work.add_done_callback(lambda _: door.leave())
        status, document = 408, {"message": f"no answer within {door.timeout_s:.0f} s"}
    return JSONResponse(document, status_code=status, headers={DEPLOYMENT_HEADER: served.name})


def answer(served: Served, body: bytes) -> tuple[int, Any]:
    """Score a body with one deployment, in a thread of the pool: a status and what to say."""
    if served.scorer is None:
        return 424, {"message": f"the model is not loaded: {served.fault}"}
    try:
        return 200, served.scorer.score(parse_request(body))
    except (BadRequestError, BadFrameError) as error:
        return 400, {"message": str(error)}
    except Exception as error:  # a model may raise anything; the server lives on
        served.log.exception("a request failed")
        return 424, {"message": f"the model failed: {type(error).__name__}"}
