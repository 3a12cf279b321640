"""HTTP sessions whose requests in flight can be broken off from another thread."""

from __future__ import annotations

import logging
import math
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from guardian_cli import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from requests import PreparedRequest, Session

# Picks one of an endpoint's deployments, and in the answer names the one that gave it; Azure's.
DEPLOYMENT_HEADER = "azureml-model-deployment"


@dataclass
class OpenSockets:
    """The sockets of a session, so that another thread can wake whoever waits on one."""

    _sockets: WeakSet[socket.socket] = field(default_factory=WeakSet)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _requests: dict[int, _Request] = field(default_factory=dict)

    def add(self, opened: socket.socket) -> None:
        """Remember a socket for as long as it is in use, and that this thread uses it now."""
        with self._lock:
            self._sockets.add(opened)
            request = self._requests.get(threading.get_ident())
            if request is not None:
                request.opened = opened
                if request.expired:
                    _break_off(opened)

    def abort(self) -> None:
        """Break off what is under way; the threads that wait for it see a lost connection."""
        with self._lock:
            for opened in list(self._sockets):
                _break_off(opened)

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[_Request]:
        """Break off this thread's request after `seconds`, and say so in `expired`.

        A socket's own time-out starts anew with every byte: who drips headers would have us wait
        for days.
        """
        request = _Request()

        def expire() -> None:
            with self._lock:
                if self._requests.get(owner) is request:
                    request.expired = True
                    if request.opened is not None:
                        _break_off(request.opened)

        owner = threading.get_ident()
        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        with self._lock:
            self._requests[owner] = request
        timer.start()
        try:
            yield request
        finally:
            timer.cancel()
            with self._lock:
                del self._requests[owner]


@dataclass(slots=True)
class _Request:
    """What one thread is waiting for."""

    opened: socket.socket | None = None
    expired: bool = False


def _break_off(opened: socket.socket) -> None:
    # A socket that is already gone is what was wanted.
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def proxies_for(host: str | None) -> dict[str, str]:
    """Return the `proxies` of a request: a server on this machine is never behind a proxy."""
    return {"no_proxy": host} if host in _LOOPBACK else {}


class NoAuth:
    """Sends no credentials: without it, requests would look for some in ~/.netrc."""

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Leave the request as it is."""
        return request


class BearerAuth:
    """Sends a key as `Authorization: Bearer`; never shows it."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "BearerAuth(***)"

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        """Add the header."""
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def open_session(*, pool_size: int = 1) -> tuple[Session, OpenSockets]:
    """Return a session without redirects, retries, cookies or ~/.netrc, and the sockets it opens.

    Proxies and certificate bundles of the environment are followed, as users behind one expect.
    """
    import requests

    # At DEBUG urllib3 writes each path with its query string, where tokens live.
    logging.getLogger("urllib3").setLevel(logging.INFO)

    class PlainSession(requests.Session):
        def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
            """Leave redirects to the caller: requests would read all of their body, unbounded."""
            return None

    session = PlainSession()
    sockets = OpenSockets()
    adapter = _tracking_adapter(sockets, pool_size)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.auth = NoAuth()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"guardian-cli/{__version__}"
    session.headers["Accept-Encoding"] = "identity"
    return session, sockets


def _tracking_adapter(sockets: OpenSockets, pool_size: int) -> Any:
    from requests.adapters import HTTPAdapter

    pools = _tracking_pools(sockets)

    class TrackingAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    return TrackingAdapter(pool_connections=2, pool_maxsize=pool_size, max_retries=0)


def _tracking_pools(sockets: OpenSockets) -> dict[str, Any]:
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection

    class PlainConnection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is not None:  # kept open by an earlier request, maybe another thread's
                sockets.add(self.sock)
            super().request(*args, **kwargs)

    class SecureConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is not None:
                sockets.add(self.sock)
            super().request(*args, **kwargs)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    return {"http": PlainPool, "https": SecurePool}


Trouble = Literal[
    "connection lost",
    "connection refused",
    "host not found",
    "no answer in time",
    "no connection in time",
    "no secure connection: the certificate or the TLS handshake failed",
    "no such file of CA certificates (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE)",
    "the address makes no sense",
    "the proxy's address makes no sense (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)",
    "a SOCKS proxy needs PySocks (pip install pysocks)",
    "the proxy gave no connection",
]


def retry_after_s(value: str | None, wall_s: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None where it makes no sense."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        seconds = float(text)
        return seconds if math.isfinite(seconds) else None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(0.0, moment.timestamp() - wall_s)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def network_errors() -> tuple[type[Exception], ...]:
    """Return all that a request or a read from its response can raise for what a network does."""
    from requests import RequestException
    from urllib3.exceptions import HTTPError

    return (RequestException, HTTPError, HTTPException, OSError, UnicodeError)


def name_trouble(error: BaseException) -> Trouble:
    """Name a network error by its kind: the library's own text holds the whole URL."""
    from requests.exceptions import (
        ConnectTimeout,
        InvalidProxyURL,
        InvalidSchema,
        InvalidURL,
        ProxyError,
    )
    from urllib3.exceptions import ProxySchemeUnknown, ReadTimeoutError

    causes = list(_causes(error))

    def is_any(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    # Of these two requests has nothing but words to tell them by.
    if is_any(InvalidSchema) and "SOCKS" in str(error):
        return "a SOCKS proxy needs PySocks (pip install pysocks)"
    if "TLS CA certificate bundle" in str(error):
        return "no such file of CA certificates (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE)"
    if is_any(InvalidProxyURL, ProxySchemeUnknown):
        return "the proxy's address makes no sense (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)"
    if is_any(ssl.SSLError) and not is_any(TimeoutError):
        return "no secure connection: the certificate or the TLS handshake failed"
    if is_any(ProxyError):
        return "the proxy gave no connection"
    if is_any(socket.gaierror):
        return "host not found"
    if is_any(ConnectionRefusedError):
        return "connection refused"
    if is_any(ConnectTimeout):
        return "no connection in time"
    if is_any(TimeoutError, ReadTimeoutError):
        return "no answer in time"
    if is_any(InvalidURL, UnicodeError):
        return "the address makes no sense"
    return "connection lost"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk all that an error wraps: causes, contexts, and errors held as arguments."""
    seen: set[int] = set()
    todo: list[object] = [error]
    while todo:
        item = todo.pop()
        if isinstance(item, BaseException) and id(item) not in seen:
            seen.add(id(item))
            yield item
            todo += [item.__cause__, item.__context__, getattr(item, "reason", None), *item.args]
