"""`python -m guardian_cli.lifecycle.local.server FOLDER FD`: the server process of one endpoint.

It leaves the terminal and serves what the state file in the folder asks for. Told by guardian, or
noticing by itself, it loads what is new, then switches in one step, while the requests in flight
end where they began. FD is a pipe to whoever started it, who reads "ready" or the reason why not.
Without its state file it ends.
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
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn  # noqa: TID253 - a leaf: nothing imports it, it is run

from guardian_cli.errors import GuardianError, PlatformError
from guardian_cli.files import LockHeldError, hold_lock, read_if_there, write_private
from guardian_cli.lifecycle.local.app import AppState, build_app
from guardian_cli.lifecycle.local.loaded_models import LoadedModels, follow_state, open_log
from guardian_cli.lifecycle.local.workspace import (
    HOST,
    KEY_NAME,
    SERVER_LOCK,
    SERVER_NAME,
    STATE_NAME,
    EndpointState,
    RunningServer,
    own_port,
    read_key,
    read_state,
    require_state,
)
from guardian_cli.settings import count_cores

if TYPE_CHECKING:
    from collections.abc import Callable

# Only for what was changed by a guardian that was killed before it could tell.
WATCH_S = 1.0
GRACE_S = 10
# Long, because a request that meets its connection's end is lost to most clients.
KEEP_ALIVE_S = 300
WORKERS = max(2, min(4, count_cores()))
# Below the range that systems give to outgoing connections.
FIRST_PORT, PORTS, TRIED_PORTS = 18000, 10000, 100


def serve(folder: Path, ready: Callable[[str], None]) -> int:
    """Serve the endpoint in a folder until told to stop; return the process's exit code.

    `ready` is called once: with "ready", or with "error" and the reason.
    """
    faulthandler.enable()
    try:
        # Not at once: whoever asks whether it is held, holds it for an instant.
        with hold_lock(folder / SERVER_LOCK, timeout_s=2.0):
            (folder / SERVER_NAME).unlink(missing_ok=True)
            listener = open_port(folder, require_state(folder))
            asyncio.run(Server(folder, listener).run(ready))
    except LockHeldError:
        ready("error its server runs already")
        return 1
    except PlatformError as error:
        ready(f"error {error}")
        return 1
    return 0


class Server:
    """One endpoint's server, from its folder and its listening socket."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self._folder = folder
        self._socket = listener
        self._log = open_log(folder, "server")
        # What uvicorn and asyncio log goes there too, where it cannot grow for ever.
        logging.getLogger().addHandler(self._log.handlers[0])
        self._seen: list[bytes] = []
        self._reloading = asyncio.Lock()
        self._app = AppState(
            instance=secrets.token_hex(8),
            control=secrets.token_urlsafe(32),
            key="",
            loaded=LoadedModels(),
            pool=ThreadPoolExecutor(WORKERS, thread_name_prefix="score"),
            reload=self.reload,
            stop=self.stop,
        )
        port = listener.getsockname()[1]
        own = RunningServer(os.getpid(), port, self._app.instance, self._app.control)
        self._server_file = json.dumps(asdict(own)).encode()
        config = uvicorn.Config(
            build_app(self._app),
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._uvicorn = uvicorn.Server(config)

    async def run(self, ready: Callable[[str], None]) -> None:
        """Load, say that it is ready, serve until told to stop."""
        await self.reload()
        write_private(self._folder / SERVER_NAME, self._server_file)
        watch = asyncio.create_task(self._watch())
        port = self._socket.getsockname()[1]
        self._log.info("ready on port %d, process %d", port, os.getpid())
        ready("ready")
        if not self._app.loaded.models:
            # The first model will come in a moment: torch takes seconds to import.
            asyncio.get_running_loop().run_in_executor(None, share_cores)
        await self._uvicorn.serve(sockets=[self._socket])
        watch.cancel()
        self._log.info("stopped after %d answers", self._app.answered)
        self._app.pool.shutdown(wait=False, cancel_futures=True)

    async def reload(self) -> dict[str, Any]:
        """Follow the state and key files; return the fault of each deployment, None for none."""
        async with self._reloading:
            # Before they are followed: a change that comes meanwhile is noticed later.
            seen = self._read_files()
            state = read_state(self._folder)
            if state is None:
                self.stop()
                return {}
            key = read_key(self._folder)

            def follow() -> LoadedModels:
                if state.deployments:
                    share_cores()
                return follow_state(self._folder, state, self._app.loaded)

            # Not in the scoring pool: neither a load nor the requests must wait for the other.
            loaded = await asyncio.get_running_loop().run_in_executor(None, follow)
            self._app.key, self._app.loaded, self._seen = key, loaded, seen
            self._log.info("traffic %s", state.traffic)
            return {name: model.fault for name, model in loaded.models.items()}

    def stop(self) -> None:
        """End once the requests in flight have their answers, or after GRACE_S."""
        self._uvicorn.should_exit = True

    async def _watch(self) -> None:
        """Follow what nobody told: a change of the files, a loss of the server's own."""
        path, was_lost = self._folder / SERVER_NAME, False
        while True:
            await asyncio.sleep(WATCH_S)
            try:
                seen = self._read_files()
                if seen != self._seen:
                    await self.reload()
                is_lost = seen[0] != b"" and read_if_there(path) != self._server_file
                # Only the second time: a folder that is being removed is left in peace.
                if is_lost and was_lost:
                    write_private(path, self._server_file)
                was_lost = is_lost
            except GuardianError as error:
                self._log.warning("the state could not be followed: %s", error)

    def _read_files(self) -> list[bytes]:
        """The state and the key, b"" for a file that is gone."""
        return [read_if_there(self._folder / name) for name in (STATE_NAME, KEY_NAME)]


def share_cores() -> None:
    """Give each of the scoring threads its part of the cores."""
    import torch

    torch.set_num_threads(max(1, count_cores() // WORKERS))


def open_port(folder: Path, state: EndpointState) -> socket.socket:
    """Listen on the endpoint's port, for a new endpoint on a free one. Raises PlatformError."""
    own = own_port(folder, state)
    for port in [own] if own else candidate_ports(folder):
        # With no protocol named, asyncio does not switch Nagle off: every answer would take 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        # Without it a port whose last connections still linger could not be had back.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
            listener.listen()
        except OSError:
            listener.close()
        else:
            return listener
    if not own:
        raise PlatformError(f"no free port was found on {HOST}")
    raise PlatformError(
        f"port {own} on {HOST} is in use by another program: the endpoint keeps its port, so that "
        "program has to end first"
    )


def candidate_ports(folder: Path) -> list[int]:
    """Ports for a new endpoint to try, begun at one that its path decides."""
    digest = hashlib.sha256(os.fsencode(folder)).digest()
    begin = int.from_bytes(digest[:4], "big") % PORTS
    return [FIRST_PORT + (begin + 7 * step) % PORTS for step in range(TRIED_PORTS)]


def main(folder: Path, descriptor: int) -> int:
    """Serve in a process of its own; return only in it, when the server has stopped."""
    # The first process ends at once, so that whoever started it has no child to wait for; the
    # second leads a session of its own, which no closing terminal reaches.
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    pipe = os.fdopen(descriptor, "wb")

    def ready(message: str) -> None:
        # One message, then it is closed. A starter that has gone does not matter.
        with suppress(OSError, ValueError), pipe:
            pipe.write(message.encode()[:4000])

    return serve(folder, ready)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
