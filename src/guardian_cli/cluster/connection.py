"""The way to a Ray cluster: one that runs, or one that is started here for as long as it is needed.

What is started listens on this machine alone, asks for a token, and reports to nobody.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import signal
import socket
import tempfile
import threading
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli import __version__
from guardian_cli.errors import MissingError, PlatformError, UsageError
from guardian_cli.settings import (
    calm_ray,
    count_cores,
    make_ray_token,
    ray_address,
    ray_uses_tls,
)
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Results alone go there; Ray wants 75 MiB at least.
OBJECT_STORE_BYTES = 78 << 20
# One process with more threads than this scores no faster: larger nodes get several actors.
MAX_CORES = 8
PROBE_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 10.0
# A client's preface with an empty frame of SETTINGS (RFC 9113, 3.4), the head of a frame in bytes,
# and the type of that frame.
HTTP2_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
HTTP2_FRAME_HEAD = 9
HTTP2_SETTINGS = b"\x04"


@dataclass(frozen=True, slots=True)
class Place:
    """Where an actor is to run, and with how many cores and GPUs."""

    node: str
    cores: int
    gpus: int = 0


class Connection:
    """A connection to a cluster; `close` it, and with it the cluster that was started for it."""

    def __init__(self, address: str) -> None:
        """Connect to `ray` or `ray://HOST:PORT`.

        Raises UsageError for another address, MissingError where Ray is not installed, and
        PlatformError where no cluster answers or none can be started.
        """
        if address != "ray" and not re.fullmatch(r"ray://[^/\s@]+:\d+", address):
            raise UsageError(f"--cluster {mask_url(address)}: neither ray nor ray://HOST:PORT")
        calm_ray()
        not_installed = MissingError(
            "--cluster needs Ray, which is not installed", hint='pip install "guardian-cli[ray]"'
        )
        try:
            import ray
        except ImportError as error:
            raise not_installed from error
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        self.ray: Any = ray
        self._stack = ExitStack()
        handler = signal.getsignal(signal.SIGTERM)
        running = find_running() if address == "ray" else address
        try:
            with ExitStack() as stack:
                # Ray prints to stdout that a worker has died, and that is for results: the console
                # has its own hold of it.
                stack.enter_context(redirect_stdout(io.StringIO()))
                with _silent_stderr():
                    self._connect(running, stack)
                self._stack = stack.pop_all()
                # Where the cluster's head listens, HOST:PORT or ray://HOST:PORT.
                is_client = address.startswith("ray://")
                self.head: str = address if is_client else ray.get_runtime_context().gcs_address
        except ImportError as error:  # of what ray:// needs besides
            raise not_installed from error
        except Exception as error:  # Ray raises that very class, too
            what = "no Ray could be started here"
            what = f"the Ray at {mask_url(running)} can't be joined" if running else what
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise PlatformError(f"{what}: {reason}", hint="ray status") from error
        except SystemExit:
            # SIGTERM, which Ray's own handler got meanwhile: ours is to have it.
            signal.signal(signal.SIGTERM, handler)
            signal.raise_signal(signal.SIGTERM)
        finally:
            # Ray's own handler would end this process without a word.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)

    def _connect(self, address: str | None, stack: ExitStack) -> None:
        """Join the cluster at an address, or start one; `stack` is to end what is begun here."""
        if address is not None:
            # Ray itself would ask for minutes whether somebody is there.
            if not answers(address):
                raise ConnectionError("nobody answers")
            options: dict[str, Any] = {"address": address}
        else:
            make_ray_token()
            # The paths of Ray's sockets are 75 characters longer, and a socket's may have 103.
            is_short = len(tempfile.gettempdir()) < 20
            folder = tempfile.mkdtemp(prefix="gr-", dir=None if is_short else "/tmp")  # noqa: S108
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            options = {
                "address": "local",
                "num_cpus": count_cores(),
                "include_dashboard": False,
                "object_store_memory": OBJECT_STORE_BYTES,
                "configure_logging": False,
                "_node_ip_address": "127.0.0.1",
                "_temp_dir": folder,
            }
        stack.callback(self.ray.shutdown)
        self.ray.init(logging_level=logging.CRITICAL, log_to_driver=False, **options)

    def places(self, *, gpus: bool) -> list[Place]:
        """Return where actors can run; raises PlatformError for a node that can't take one."""
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        places = [
            place
            for node in nodes
            for place in plan_actors(node["NodeID"], node["Resources"], gpus=gpus)
        ]
        used = {place.node for place in places}
        there = check_versions(self.ray, [node for node in nodes if node["NodeID"] in used])
        if not there:
            raise PlatformError("the cluster has no node with a free core", hint="ray status")
        return [place for place in places if place.node in there]

    def close(self) -> None:
        """Leave the cluster, or end the one that was started here; idempotent."""
        self._stack.close()


def check_versions(ray: Any, nodes: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the ids of those of the nodes that are still there when they are asked.

    Raises PlatformError for a node that runs nothing, or another guardian than this.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    # Inside this function, so that Ray sends its code: a node may have no guardian to find it.
    def find_version() -> str | None:
        try:
            from guardian_cli import __version__ as version  # noqa: PLC0415 - of the node
        except ImportError:
            return None
        return version

    probe = ray.remote(find_version)
    asked = [
        probe.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote()
        for node in nodes
    ]
    there = set()
    for node, answer in zip(nodes, asked, strict=True):
        name = node["NodeManagerAddress"]
        try:
            version = ray.get(answer, timeout=PROBE_TIMEOUT_S)
        except ray.exceptions.RayError as error:
            alive = {one["NodeID"] for one in ray.nodes() if one["Alive"]}
            # It was lost after it was listed, which is no fault of the cluster's.
            if node["NodeID"] not in alive:
                continue
            raise PlatformError(
                f"node {name} of the cluster runs nothing ({type(error).__name__})",
                hint="ray status",
            ) from error
        # Another version may judge otherwise, and its pickles may not even be read.
        if version != __version__:
            has = "has no guardian" if version is None else f"has guardian {version}"
            raise PlatformError(
                f"node {name} of the cluster {has}, and this is {__version__}",
                hint=f'pip install "guardian-cli=={__version__}" there, where Ray runs',
            )
        there.add(node["NodeID"])
    return there


def find_running() -> str | None:
    """Return the address of the cluster that Ray's own commands would use here, if there is one."""
    named = ray_address()
    if named is not None:
        return named
    noted = Path(tempfile.gettempdir(), "ray", "ray_current_cluster")
    try:
        address = noted.read_text("utf-8").strip()
    except OSError:
        return None
    # The file stays behind where Ray was killed.
    return address if address and answers(address) else None


def answers(address: str) -> bool:
    """Whether HOST:PORT, with or without ray:// in front, speaks gRPC's protocol, HTTP/2.

    Its server sends its SETTINGS first; whatever else may listen there says something else, or
    waits. Behind TLS only the connection is tried.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_TIMEOUT_S) as there:
            if ray_uses_tls():
                return True
            there.sendall(HTTP2_HELLO)
            return there.recv(HTTP2_FRAME_HEAD, socket.MSG_WAITALL)[3:4] == HTTP2_SETTINGS
    except (OSError, ValueError):
        return False


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keep what C++ code says of networks that it did not find from the screen."""
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def plan_actors(node: str, resources: Mapping[str, float], *, gpus: bool) -> list[Place]:
    """Divide a node among actors: one for each GPU, else one for every MAX_CORES cores."""
    cores = int(resources.get("CPU", 0))
    devices = int(resources.get("GPU", 0)) if gpus else 0
    count = min(devices, cores) if devices else -(-cores // MAX_CORES)
    return [Place(node, cores // count, 1 if devices else 0) for _ in range(count)]
