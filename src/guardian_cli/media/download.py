"""A video behind an http(s):// address, fetched to a file: streamed, bounded, resumed."""

from __future__ import annotations

import os
import re
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Literal, Self
from urllib.parse import unquote, urljoin, urlsplit

from guardian_cli.errors import SourceError
from guardian_cli.http import (
    NoAuth,
    OpenSockets,
    name_trouble,
    network_errors,
    open_session,
    proxies_for,
    retry_after_s,
)
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from requests import Response, Session
    from requests.auth import AuthBase

    Progress = Callable[[int, int | None], None]

CHUNK_BYTES = 131_072
CONNECT_TIMEOUT_S = 10.0
STALL_TIMEOUT_S = 30.0
WATCH_EVERY_S = 0.1
MOST_REDIRECTS = 5
MOST_RESUMES = 2
MOST_WAITS = 6
LEAST_WAIT_S = 0.1
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TELLS_WHEN = frozenset({429, 503})


def fetch_url(
    url: str,
    folder: Path,
    *,
    timeout_s: float,
    max_bytes: int,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Download `url` into a new file in `folder` and return its path, the URL's ending kept.

    `timeout_s` bounds the whole, `progress` is told the bytes so far and in all, if known; setting
    `stop` ends it. A broken transfer is resumed twice. A user and password in the URL are sent to
    that host alone. Raises SourceError, of kind `unreachable`, `too_large`, `timeout`,
    `interrupted` or `unwritable`, and leaves no file behind then. Who answers 429 or 503 and says
    when to come again is asked again then, if there is time.
    """
    try:
        _same_origin(url, url)
    except ValueError as error:
        reason = "the address makes no sense"
        raise SourceError(f"{mask_url(url)}: {reason}", kind="unreachable") from error
    session, sockets = open_session()
    with session, _Watch(sockets, timeout_s, stop) as watch:
        download = _Download(url, session, watch, timeout_s, max_bytes, progress)
        return download.to_file_in(folder)


@dataclass(slots=True)
class _Held:
    """What is there of the file so far, and how to ask for the rest."""

    received: int = 0
    total: int | None = None
    validator: str | None = None


class _Broken(Exception):  # noqa: N818 - a signal between two methods, never seen outside
    """The transfer broke off; the rest may be had by asking again."""


class _Download:
    def __init__(
        self,
        url: str,
        session: Session,
        watch: _Watch,
        timeout_s: float,
        max_bytes: int,
        progress: Progress | None,
    ) -> None:
        self._url = url
        self._shown = mask_url(url)
        self._session = session
        self._watch = watch
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._progress = progress
        self._held = _Held()

    def to_file_in(self, folder: Path) -> Path:
        """Fetch into a partial file, and give it its name once it is whole."""
        with self._keeping():
            descriptor, name = tempfile.mkstemp(".part", "source-", folder)
            part = Path(name)
            whole = part.with_suffix(_ending(self._url))
            try:
                with os.fdopen(descriptor, "wb") as file:
                    self._fetch(file)
                return part.replace(whole)
            except BaseException:
                with suppress(OSError):
                    part.unlink()
                raise

    def _fetch(self, file: BinaryIO) -> None:
        for left in range(MOST_RESUMES, -1, -1):
            try:
                self._fetch_once(file)
            except _Broken as broken:
                self._check_watch()
                if not left:
                    raise self._error(f"{broken} after {self._held.received} bytes") from broken
                self._watch.pause(0.5 * (MOST_RESUMES - left + 1))
                self._check_watch()
            else:
                return

    def _fetch_once(self, file: BinaryIO) -> None:
        with self._get_when_ready() as response:
            self._take_head(response, file)
            for chunk in self._chunks(response):
                self._keep(chunk, file)
            if self._held.total not in {None, self._held.received}:
                raise _Broken("the transfer broke off")

    def _get_when_ready(self) -> Response:
        """Get the file, from a server that is busy at the time that it says, if that is soon."""
        for _ in range(MOST_WAITS):
            response = self._get()
            if response.status_code not in _TELLS_WHEN:
                return response
            wait_s = retry_after_s(response.headers.get("Retry-After"), time.time())
            if wait_s is None or wait_s >= self._watch.left_s:
                return response
            response.close()
            self._watch.pause(max(wait_s, LEAST_WAIT_S))
            self._check_watch()
        return self._get()

    def _get(self) -> Response:
        """Follow redirects to the response that has the file, or the rest of it."""
        url = self._url
        for _ in range(MOST_REDIRECTS + 1):
            response = self._request(url)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            response.close()
            url = self._target(url, location)
        raise self._error(f"more than {MOST_REDIRECTS} redirects")

    def _target(self, url: str, location: str) -> str:
        try:
            target = urljoin(url, location)
            _same_origin(url, target)
        except ValueError as error:
            raise self._error("a redirect to an address that makes no sense") from error
        if urlsplit(target).scheme not in {"http", "https"}:
            raise self._error(f"a redirect to {mask_url(target)}, which is not http(s)")
        return target

    def _request(self, url: str) -> Response:
        self._check_watch()
        try:
            parts = urlsplit(url)
            bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
            return self._session.get(
                bare,
                headers=self._range(),
                auth=_auth(self._url, url),
                timeout=(CONNECT_TIMEOUT_S, min(STALL_TIMEOUT_S, self._timeout_s)),
                proxies=proxies_for(parts.hostname),
                allow_redirects=False,
                stream=True,
            )
        except network_errors() as error:
            self._check_watch()
            trouble = name_trouble(error)
            if self._held.received or trouble == "connection lost":
                raise _Broken(trouble) from error
            raise self._error(trouble) from error

    def _range(self) -> dict[str, str]:
        held = self._held
        if not held.received or held.validator is None:
            return {}
        return {"Range": f"bytes={held.received}-", "If-Range": held.validator}

    def _take_head(self, response: Response, file: BinaryIO) -> None:
        status, headers = response.status_code, response.headers
        held = self._held
        resumed = status == HTTPStatus.PARTIAL_CONTENT and headers.get(
            "Content-Range", ""
        ).startswith(f"bytes {held.received}-")
        if resumed and held.received:
            return
        if status != HTTPStatus.OK:
            raise self._error(_title(status))
        file.seek(0)
        file.truncate()
        packed = headers.get("Content-Encoding", "identity") != "identity"
        length = headers.get("Content-Length", "")
        total = int(length) if length.isascii() and length.isdigit() and not packed else None
        self._held = _Held(0, total, None if packed else _validator(headers))
        if total is not None and total > self._max_bytes:
            raise self._too_large()

    def _chunks(self, response: Response) -> Iterator[bytes]:
        while True:
            try:
                chunk = response.raw.read1(CHUNK_BYTES, decode_content=True)
            except network_errors() as error:
                self._check_watch()
                raise _Broken(name_trouble(error)) from error
            self._check_watch()  # where no length is known, broken off looks like the end
            if not chunk:
                return
            yield chunk

    def _keep(self, chunk: bytes, file: BinaryIO) -> None:
        self._held.received += len(chunk)
        if self._held.received > self._max_bytes:
            raise self._too_large()
        file.write(chunk)
        if self._progress is not None:
            self._progress(self._held.received, self._held.total)

    def _check_watch(self) -> None:
        if self._watch.ended == "interrupted":
            raise self._error("the scan was ended", kind="interrupted")
        if self._watch.ended == "timeout":
            raise self._error(f"not fetched within {self._timeout_s:g} s", kind="timeout")

    def _error(self, reason: str, kind: str = "unreachable") -> SourceError:
        return SourceError(f"{self._shown}: {reason}", kind=kind)

    def _too_large(self) -> SourceError:
        return self._error(f"larger than {self._max_bytes / 1e6:g} MB", kind="too_large")

    @contextmanager
    def _keeping(self) -> Iterator[None]:
        try:
            yield  # what the network raises never comes this far: an OSError is the disk's
        except OSError as error:
            raise self._error(f"not kept on disk: {error.strerror}", kind="unwritable") from error


class _Watch:
    """Breaks the transfer off once its time is over or `stop` is set, whatever it waits for."""

    def __init__(
        self, sockets: OpenSockets, timeout_s: float, stop: threading.Event | None
    ) -> None:
        self._sockets = sockets
        self._deadline_s = time.monotonic() + timeout_s
        self._stop = stop
        self._done = threading.Event()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fetch-watch", daemon=True)

    @property
    def ended(self) -> Literal["interrupted", "timeout"] | None:
        """Why the transfer has to end, if it has to."""
        if self._stop is not None and self._stop.is_set():
            return "interrupted"
        return "timeout" if time.monotonic() >= self._deadline_s else None

    @property
    def left_s(self) -> float:
        """How much of the time is left, in seconds."""
        return self._deadline_s - time.monotonic()

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the end."""
        self._ending.wait(seconds)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._done.wait(WATCH_EVERY_S):
            if self.ended is not None:
                self._ending.set()
                self._sockets.abort()


def _same_origin(one: str, other: str) -> bool:
    """Compare scheme, host and port; raises ValueError for what is no URL."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.hostname, first.port) == (
        second.scheme,
        second.hostname,
        second.port,
    )


def _auth(original: str, url: str) -> AuthBase | NoAuth:
    """Return the user and password of the original URL, for its own scheme, host and port only."""
    home = urlsplit(original)
    if not home.username or not _same_origin(original, url):
        return NoAuth()
    from requests.auth import HTTPBasicAuth

    return HTTPBasicAuth(unquote(home.username), unquote(home.password or ""))


def _validator(headers: Mapping[str, str]) -> str | None:
    """Return what tells whether the file is still the same when the rest of it is asked for."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _ending(url: str) -> str:
    """Return the file ending that the URL's path has, or none that a file name should not have."""
    with suppress(ValueError):
        suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix
        return suffix if re.fullmatch(r"\.[A-Za-z0-9]{1,5}", suffix) else ""
    return ""


def _title(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP status {status}"
