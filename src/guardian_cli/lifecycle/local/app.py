"""The server's HTTP application: POST /score, GET /health, and controls for guardian alone."""

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

    from guardian_cli.lifecycle.local.loaded_models import LoadedModel, LoadedModels

MAX_BODY_BYTES = 32 * 1024 * 1024
MAX_WAITING = 256
SCORE_TIMEOUT_S = 120.0


@dataclass
class AppState:
    """What all requests share; a reload replaces `loaded` and `key` whole.

    `waiting` counts what waits for the pool or is being scored, `answered` what has ended.
    """

    instance: str
    control: str
    key: str
    loaded: LoadedModels
    pool: ThreadPoolExecutor
    reload: Callable[[], Awaitable[dict[str, Any]]]
    stop: Callable[[], None]
    waiting: int = 0
    answered: int = 0
    timeout_s: float = SCORE_TIMEOUT_S


def build_app(state: AppState) -> Starlette:
    """Build the ASGI application."""

    async def score(request: Request) -> JSONResponse:
        if not has_key(request, state.key):
            return refuse(401, "the key is missing or wrong", {"WWW-Authenticate": "Bearer"})
        if state.waiting >= MAX_WAITING:
            return refuse(429, "too many requests are waiting", {"Retry-After": "1"})
        state.waiting += 1
        try:
            body = await read_body(request)
            if body is None:
                return refuse(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
            return await score_body(state, request.headers.get(DEPLOYMENT_HEADER), body)
        finally:
            state.waiting -= 1
            state.answered += 1

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "instance": state.instance})

    async def control(request: Request) -> JSONResponse:
        if not has_key(request, state.control):
            return refuse(401, "this is not for you")
        if request.path_params["action"] == "stop":
            state.stop()
            return JSONResponse({})
        return JSONResponse(await state.reload())

    routes = [
        Route("/score", score, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
        Route("/control/{action:str}", control, methods=["POST"]),
    ]
    return Starlette(routes=routes)


def has_key(request: Request, key: str) -> bool:
    """Whether a request carries the key, compared in constant time."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    same = hmac.compare_digest(given.strip().encode("utf-8", "replace"), key.encode())
    # An empty key would open to everybody.
    return same and scheme.lower() == "bearer" and bool(key)


def refuse(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """Answer with a reason."""
    return JSONResponse({"message": message}, status_code=status, headers=headers)


async def read_body(request: Request) -> bytes | None:
    """Read the body, None where it is larger than MAX_BODY_BYTES."""
    if int(request.headers.get("content-length", "0")) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    # Counted as well: a client may claim less than it sends, or send chunks without a length.
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


async def score_body(state: AppState, wanted: str | None, body: bytes) -> JSONResponse:
    """Choose a deployment, score in the pool, and answer with its name in the header.

    `wanted` is the deployment that the client names; None leaves the choice to the traffic.
    """
    name = wanted or state.loaded.router.choose()
    if name is None:
        return refuse(404, "no deployment has traffic")
    model = state.loaded.models.get(name)
    if model is None:
        return refuse(404, f"there is no deployment {name}")
    queued = state.pool.submit(run_model, model, body)
    work = asyncio.wrap_future(queued)
    try:
        status, document = await asyncio.wait_for(asyncio.shield(work), state.timeout_s)
    except TimeoutError:
        # Nobody waits for it any more. What is being scored already cannot be broken off: it goes
        # on counting among those that wait until it ends.
        if not queued.cancel():
            state.waiting += 1

            def count_down(_: object) -> None:
                state.waiting -= 1

            work.add_done_callback(count_down)
        status, document = 408, {"message": f"no answer within {state.timeout_s:.0f} s"}
    return JSONResponse(document, status_code=status, headers={DEPLOYMENT_HEADER: name})


def run_model(model: LoadedModel, body: bytes) -> tuple[int, Any]:
    """Score a body with one deployment, in a thread of the pool: HTTP status and document."""
    if model.scorer is None:
        # As managed endpoints answer where the model is at fault and not the request.
        return 424, {"message": f"the model is not loaded: {model.fault}"}
    try:
        return 200, model.scorer.score(parse_request(body))
    except (BadRequestError, BadFrameError) as error:
        return 400, {"message": str(error)}
    except Exception as error:  # a model may raise anything; the server lives on
        model.log.exception("a request failed")
        return 424, {"message": f"the model failed: {type(error).__name__}"}
