"""HTTP: sessions that keep secrets to themselves, deadlines, and what went wrong in plain words."""

from __future__ import annotations

import logging
import math
import socket
import ssl
import threading
import time
from contextlib import suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from guardian_cli import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from requests import PreparedRequest, Response, Session
    from requests.auth import AuthBase

    from guardian_cli.addresses import AddressTrail

# Picks one of an endpoint's deployments, and in the answer names the one that gave it; Azure's.
DEPLOYMENT_HEADER = "azureml-model-deployment"
# `stop` cannot be waited for together with the deadline: so late, at most, it is noticed.
STOP_CHECK_S = 0.1
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class OpenSockets:
    """Which socket each thread waits on, so that another thread can wake it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.deadlines: dict[int, Deadline] = {}  # by the thread whose requests they end

    def use(self, opened: socket.socket) -> None:
        """Take note that this thread waits on a socket from now on."""
        with self.lock:
            deadline = self.deadlines.get(threading.get_ident())
            if deadline is not None:
                deadline.socket = opened
                if deadline.ended is not None:
                    deadline.end(deadline.ended)

    def abort(self) -> None:
        """Break off what is under way; the threads that wait for it see a lost connection."""
        with self.lock:
            for deadline in self.deadlines.values():
                deadline.end("interrupted")


class Deadline:
    """Breaks off the requests of the thread that enters it, after `seconds` or when `stop` is set.

    `ended` then says why. A socket's own time-out is not enough: it starts anew with every byte, so
    a server that drips headers would be waited for for days.
    """

    def __init__(
        self, sockets: OpenSockets, seconds: float, stop: threading.Event | None = None
    ) -> None:
        self.ended: Literal["interrupted", "timeout"] | None = None
        self.socket: socket.socket | None = None
        self._sockets = sockets
        self._end_s = time.monotonic() + seconds
        self._stop = stop
        self._over = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="http-deadline", daemon=True)

    @property
    def left_s(self) -> float:
        """How much time is left, in seconds."""
        return self._end_s - time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._over.wait(seconds)

    def end(self, why: Literal["interrupted", "timeout"]) -> None:
        """Break off what the thread waits for, and all that it begins later. Hold the lock."""
        self.ended = why
        self._over.set()
        if self.socket is not None:
            # A socket that is already gone is what was wanted.
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        with self._sockets.lock:
            self._sockets.deadlines[threading.get_ident()] = self
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join()
        with self._sockets.lock:
            del self._sockets.deadlines[threading.get_ident()]

    def _watch(self) -> None:
        # An event can't be waited for together with another one: `stop` is looked at now and then.
        longest_s = math.inf if self._stop is None else STOP_CHECK_S
        while not self._left.wait(max(0.0, min(self.left_s, longest_s))):
            stopped = self._stop is not None and self._stop.is_set()
            if stopped or self.left_s <= 0:
                with self._sockets.lock:
                    self.end("interrupted" if stopped else "timeout")
                return


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


def split_credentials(url: str) -> tuple[str, AuthBase | NoAuth]:
    """Return a URL without user, password and fragment, and what sends the first two.

    Raises ValueError for what is no URL.
    """
    parts = urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    if not parts.username:
        return bare, NoAuth()
    from requests.auth import HTTPBasicAuth

    return bare, HTTPBasicAuth(unquote(parts.username), unquote(parts.password or ""))


def open_session(
    *, pool_size: int = 1, trail: AddressTrail | None = None
) -> tuple[Session, OpenSockets]:
    """Return a session without redirects, retries, cookies or ~/.netrc, and the sockets it opens.

    Proxies and certificate bundles of the environment are followed, as users behind one expect.
    With a `trail` it connects to the very addresses that this allows; requests raise its
    AddressRefusedError then.
    """
    import requests

    # At DEBUG urllib3 writes each path with its query string, where tokens live.
    logging.getLogger("urllib3").setLevel(logging.INFO)

    class PlainSession(requests.Session):
        def get_redirect_target(self, resp: Response) -> str | None:  # noqa: ARG002
            """Leave redirects to the caller: requests would read all of their body, unbounded."""
            return None

        def merge_environment_settings(
            self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
        ) -> Any:
            """Follow the environment, but a server on this machine is never behind a proxy."""
            host = urlsplit(url).hostname
            proxies = {"no_proxy": host} if host in _LOOPBACK else proxies
            return super().merge_environment_settings(url, proxies, stream, verify, cert)

    session = PlainSession()
    sockets = OpenSockets()
    adapter = _tracking_adapter(sockets, pool_size, trail)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.auth = NoAuth()
    # A request tells nothing of the ones before it.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers["User-Agent"] = f"guardian-cli/{__version__}"
    # A download is counted, and resumed, by the bytes that travel.
    session.headers["Accept-Encoding"] = "identity"
    return session, sockets


def _tracking_adapter(sockets: OpenSockets, pool_size: int, trail: AddressTrail | None) -> Any:
    """Return a requests adapter whose connections tell `sockets` which socket each thread uses."""
    from requests.adapters import HTTPAdapter
    from requests.utils import select_proxy
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.exceptions import HTTPError

    class PlainConnection(HTTPConnection):
        def connect(self) -> None:
            if trail is None or self.proxy is not None:
                super().connect()
            else:
                self.connect_to(trail.look_up(self.host, self.port))
            sockets.use(self.sock)

        def connect_to(self, addresses: Sequence[str]) -> None:
            """Try addresses in turn; for TLS and the Host header the host keeps its name."""
            connection: Any = self
            connection.server_hostname = name = self.host
            for left, address in enumerate(addresses, 1 - len(addresses)):
                self.host = address
                try:
                    super().connect()
                    break
                except HTTPError:  # no connection; a failed TLS handshake is another error
                    if left == 0:
                        raise
                finally:
                    self.host = name

        def request(self, *args: Any, **kwargs: Any) -> None:
            if self.sock is not None:  # kept open by an earlier request, maybe another thread's
                sockets.use(self.sock)
                if trail is not None and self.proxy is None:
                    trail.use_again(self.host, self.sock.getpeername()[0])
            super().request(*args, **kwargs)

    # In this order `super().connect()` above is that of HTTPS, with its handshake.
    class SecureConnection(PlainConnection, HTTPSConnection):
        pass

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = SecureConnection

    pools = {"http": PlainPool, "https": SecurePool}

    class TrackingAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

        def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Any:
            url = request.url or ""
            if trail is not None and select_proxy(url, kwargs.get("proxies")):
                parts = urlsplit(url)
                trail.check_proxied(parts.hostname or "", parts.port or 443)
            return super().send(request, *args, **kwargs)

    # Whoever calls knows better what is worth another attempt, and until when.
    return TrackingAdapter(pool_connections=2, pool_maxsize=pool_size, max_retries=0)


def status_title(status: int) -> str:
    """Return a status as people know it: `404 Not Found`."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP status {status}"


def retry_after_s(value: str | None, wall_s: float) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None where it makes no sense.

    `wall_s` is the time of day, in POSIX seconds: the header may name a moment. Fractions of a
    second, which the standard does not know but servers send, are understood.
    """
    text = (value or "").strip()
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


def name_trouble(error: BaseException) -> Trouble:
    """Name a network error by its kind: the library's own text holds the whole URL."""
    from requests import exceptions as of_requests
    from urllib3 import exceptions as of_urllib3

    causes = list(_causes(error))

    def is_any(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    # Of these two requests has nothing but words to tell them by.
    if is_any(of_requests.InvalidSchema) and "SOCKS" in str(error):
        return "a SOCKS proxy needs PySocks (pip install pysocks)"
    if "TLS CA certificate bundle" in str(error):
        return "no such file of CA certificates (REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE)"
    if is_any(of_requests.InvalidProxyURL, of_urllib3.ProxySchemeUnknown):
        return "the proxy's address makes no sense (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY)"
    if is_any(ssl.SSLError) and not is_any(TimeoutError):
        return "no secure connection: the certificate or the TLS handshake failed"
    if is_any(of_requests.ProxyError):
        return "the proxy gave no connection"
    if is_any(socket.gaierror):
        return "host not found"
    if is_any(ConnectionRefusedError):
        return "connection refused"
    if is_any(of_requests.ConnectTimeout):
        return "no connection in time"
    if is_any(TimeoutError, of_urllib3.ReadTimeoutError):
        return "no answer in time"
    if is_any(of_requests.InvalidURL, UnicodeError):
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
