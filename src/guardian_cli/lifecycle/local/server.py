"""The server process of one endpoint, from the folder that holds its state, key and logs.

It follows the state file: told by guardian, or noticing by itself, it loads what is new, then
switches in one step, while the requests in flight end where they began. Whoever
started it hears "ready" or the reason why not. Without its state file it ends.
"""

from __future__ import annotations

import asyncio
import faulthandler
import hashlib
import json
import logging
import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import uvicorn  # noqa: TID253 - a leaf: nothing imports it, it is run

from guardian_cli.errors import PlatformError
from guardian_cli.lifecycle.local.app import Door, build_app
from guardian_cli.lifecycle.local.files import LockHeldError, hold_lock, write_private
from guardian_cli.lifecycle.local.fleet import Routing, open_log, plan_routing
from guardian_cli.lifecycle.local.state import (
    KEY_NAME,
    SERVER_LOCK,
    SERVER_NAME,
    STATE_NAME,
    EndpointState,
    own_port,
    read_key,
    read_state,
)
from guardian_cli.settings import count_cores

if TYPE_CHECKING:
    from pathlib import Path


HOST = "127.0.0.1"
WATCH_S = 1.0
GRACE_S = 10
# Long, because a request that meets its connection's end is lost to most clients.
KEEP_ALIVE_S = 300
BACKLOG = 1024
WORKERS = max(2, min(4, count_cores()))


class Server:
    """One endpoint's server, from its folder."""

    def __init__(self, folder: Path, port: socket.socket) -> None:
        self._folder = folder
        self._socket = port
        self._log = open_log(folder, "server")
        # What uvicorn and asyncio have to say goes there too, where it cannot grow for ever.
        logging.getLogger().addHandler(self._log.handlers[0])
        self._seen: tuple[object, ...] = ()
        self._turn = asyncio.Lock()
        self._door = Door(
            instance=secrets.token_hex(8),
            control=secrets.token_urlsafe(32),
            key="",
            routing=Routing(),
            pool=ThreadPoolExecutor(WORKERS, thread_name_prefix="score"),
            reload=self.reload,
            stop=self._stop,
        )
        config = uvicorn.Config(
            build_app(self._door),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
            backlog=BACKLOG,
        )
        self._uvicorn = uvicorn.Server(config)

    async def run(self, tell: Tell) -> None:
        """Load, say that it is ready, serve until told to stop."""
        await self.reload()
        self._announce()
        watch = asyncio.create_task(self._watch())
        port = self._socket.getsockname()[1]
        self._log.info("ready on port %d, process %d", port, os.getpid())
        tell("ready")
        if not self._door.routing.served:
            # The first model will come in a moment: torch takes seconds to import.
            asyncio.get_running_loop().run_in_executor(None, _share_cores)
        await self._uvicorn.serve(sockets=[self._socket])
        watch.cancel()
        self._log.info("stopped after %d answers", self._door.answered)
        self._door.pool.shutdown(wait=False, cancel_futures=True)

    def _announce(self) -> None:
        write_private(self._folder / SERVER_NAME, self._whereabouts())

    def _whereabouts(self) -> bytes:
        document = {
            "pid": os.getpid(),
            "port": self._socket.getsockname()[1],
            "instance": self._door.instance,
            "control": self._door.control,
        }
        return json.dumps(document).encode()

    def _is_lost(self) -> bool:
        """Whether the endpoint is there, but not the file that says where its server is."""
        path = self._folder / SERVER_NAME
        known = path.is_file() and path.read_bytes() == self._whereabouts()
        return not known and (self._folder / STATE_NAME).exists()

    async def reload(self) -> dict[str, Any]:
        """Follow the state and key files; say what became of each deployment."""
        async with self._turn:
            seen = self._look()
            state = read_state(self._folder)
            if state is None:
                self._stop()
                return {}
            key = read_key(self._folder)
            loop = asyncio.get_running_loop()
            # Not in the scoring pool: neither a load nor the requests must wait for the other.
            routing = await loop.run_in_executor(
                None, _follow, self._folder, state, self._door.routing
            )
            self._door.key, self._door.routing, self._seen = key, routing, seen
            self._log.info("traffic %s", dict(state.traffic))
            return {name: served.fault for name, served in routing.served.items()}

    async def _watch(self) -> None:
        was_lost = False
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                if self._look() != self._seen:
                    await self.reload()
                # Only the second time: a folder that is being removed is left in peace.
                lost = self._is_lost()
                if lost and was_lost:
                    self._announce()
                was_lost = lost
            except (OSError, PlatformError) as error:
                self._log.warning("the state could not be followed: %s", error)

    def _look(self) -> tuple[object, ...]:
        found: list[object] = []
        for name in (STATE_NAME, KEY_NAME):
            try:
                status = (self._folder / name).stat()
            except FileNotFoundError:
                found.append(None)
            else:
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _stop(self) -> None:
        self._uvicorn.should_exit = True


class Tell:
    """The line to whoever started the server: one message, then it is closed."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def __call__(self, message: str) -> None:
        """Say the message; a starter that has gone does not matter."""
        try:
            os.write(self._descriptor, message.encode()[:4000])
        except OSError:
            pass
        finally:
            os.close(self._descriptor)


def open_port(folder: Path, state: EndpointState) -> socket.socket:
    """Bind the endpoint's port, or for a new endpoint a free one. Raises PlatformError."""
    port = own_port(folder, state)
    if port:
        return _bind(port)
    for port in candidate_ports(folder):
        try:
            return _bind(port)
        except PlatformError:
            continue
    raise PlatformError("no free port was found on 127.0.0.1")


def candidate_ports(folder: Path) -> list[int]:
    """Ports to try: below the range that systems give to outgoing calls, begun by the path."""
    first, count = 18000, 10000
    digest = hashlib.sha256(os.fsencode(folder)).digest()
    begin = int.from_bytes(digest[:4], "big") % count
    return [first + (begin + 7 * step) % count for step in range(100)]


def _bind(port: int) -> socket.socket:
    # With no protocol named, asyncio does not switch Nagle off: every answer would take 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # Without it a port whose last connections still linger could not be had back.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise PlatformError(
            f"port {port} on {HOST} is in use by another program: the endpoint keeps "
            "its port, so that program has to end first"
        ) from error
    listener.set_inheritable(False)
    return listener


def _follow(folder: Path, state: EndpointState, now: Routing) -> Routing:
    if state.deployments:
        _share_cores()
    return plan_routing(folder, state, now)


def _share_cores() -> None:
    import torch

    torch.set_num_threads(max(1, count_cores() // WORKERS))


def serve(folder: Path, tell: Tell) -> int:
    """Serve the endpoint in a folder until told to stop; return the process's exit code."""
    faulthandler.enable()
    try:
        # A moment of patience: whoever looks whether it is held, holds it for an instant.
        with hold_lock(folder / SERVER_LOCK, timeout_s=2.0):
            (folder / SERVER_NAME).unlink(missing_ok=True)
            _serve(folder, tell)
    except LockHeldError:
        tell("error its server runs already")
        return 1
    except PlatformError as error:
        tell(f"error {error}")
        return 1
    return 0


def _serve(folder: Path, tell: Tell) -> None:
    state = read_state(folder)
    if state is None:
        raise PlatformError(f"{folder} holds no endpoint")
    asyncio.run(Server(folder, open_port(folder, state)).run(tell))
