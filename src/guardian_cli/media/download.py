"""A video behind an http(s):// address, fetched to a file: streamed, bounded, resumed."""

from __future__ import annotations

import os
import re
import tempfile
import time
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Self
from urllib.parse import unquote, urljoin, urlsplit

from guardian_cli.addresses import AddressRefusedError, AddressRule, AddressTrail
from guardian_cli.errors import SourceError
from guardian_cli.http import (
    Deadline,
    NoAuth,
    name_trouble,
    network_errors,
    open_session,
    retry_after_s,
    split_credentials,
    status_title,
)
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from requests import Response

CHUNK_BYTES = 131_072
CONNECT_TIMEOUT_S = 10.0
# Between two pieces of data; `timeout_s` bounds the whole.
STALL_TIMEOUT_S = 30.0
MAX_REDIRECTS = 5
MAX_RESUMES = 2
RESUME_PAUSE_S = 0.5
MAX_WAITS = 6
# "Retry-After: 0" from a server that is always busy.
MIN_WAIT_S = 0.1
ANY_ADDRESS = AddressRule()
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SAYS_WHEN = frozenset({429, 503})


def fetch_url(
    url: str,
    folder: Path,
    *,
    timeout_s: float,
    max_bytes: int,
    rule: AddressRule = ANY_ADDRESS,
    progress: Callable[[int, int | None], None] | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """Download `url` into a new file in `folder` and return its path, the URL's ending kept.

    `timeout_s` bounds the whole, `progress` is told the bytes so far and in all, if known; setting
    `stop` ends it. A broken transfer is resumed twice. A user and password in the URL are sent to
    that host alone. `rule` says which addresses it may lead to. Raises SourceError, of kind
    `unreachable`, `private`, `too_large`, `timeout`, `interrupted` or `unwritable`, and leaves no
    file behind then. Who answers 429 or 503 and says when to come again is asked again then, if
    there is time.
    """
    with _Download(url, timeout_s, max_bytes, rule, progress, stop) as download:
        return write_part(url, folder, download.fetch)


def write_part(url: str, folder: Path, fetch: Callable[[BinaryIO], None]) -> Path:
    """Have `fetch` write into a new file in `folder`; return its path, with the URL's ending.

    Whatever is raised, no file is left behind. An OSError must be the disk's: it becomes a
    SourceError of kind `unwritable`.
    """
    try:
        descriptor, name = tempfile.mkstemp(".part", "source-", folder)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                fetch(file)
            path = re.split("[?#]", url.partition("://")[2])[0].partition("/")[2]
            ending = PurePosixPath(unquote(path)).suffix
            # An ending tells a stream of JPEGs from a photo; no more of the URL gets into a path.
            safe = re.fullmatch(r"\.[A-Za-z0-9]{1,5}", ending) is not None
            return part.replace(part.with_suffix(ending if safe else ""))
        except BaseException:
            with suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        message = f"{mask_url(url)}: not kept on disk: {error.strerror}"
        raise SourceError(message, kind="unwritable") from error


def too_large(url: str, max_bytes: int) -> SourceError:
    """Return the error of what is larger than may be fetched."""
    message = f"{mask_url(url)}: larger than {max_bytes / 1e6:g} MB (--max-bytes)"
    return SourceError(message, kind="too_large")


class _BrokenOffError(Exception):
    """The transfer broke off; the rest may be had by asking again."""


class _Download:
    """One file on its way: what is there of it so far, and how to ask for the rest."""

    def __init__(
        self,
        url: str,
        timeout_s: float,
        max_bytes: int,
        rule: AddressRule,
        progress: Callable[[int, int | None], None] | None,
        stop: threading.Event | None,
    ) -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._progress = progress
        self._received = 0
        self._total: int | None = None
        self._validator: str | None = None
        try:
            self._origin = _origin(url)
            _, self._auth = split_credentials(url)
        except ValueError as error:
            raise self.error("the address makes no sense") from error
        self._trail = AddressTrail(rule)
        self._session, sockets = open_session(trail=self._trail)
        self._deadline = Deadline(sockets, timeout_s, stop)

    def __enter__(self) -> Self:
        self._deadline.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._deadline.__exit__()
        self._session.close()

    def fetch(self, file: BinaryIO) -> None:
        """Write the whole content, from several responses where the transfer breaks off."""
        for attempt in range(1, MAX_RESUMES + 2):
            try:
                self._fetch_rest(file)
            except _BrokenOffError as broken:
                self._check_deadline()
                if attempt > MAX_RESUMES:
                    raise self.error(f"{broken} after {self._received} bytes") from broken
                self._deadline.pause(RESUME_PAUSE_S * attempt)
            else:
                return

    def error(self, reason: str, kind: str = "unreachable") -> SourceError:
        """Return the error of this download; the URL in it is masked."""
        return SourceError(f"{mask_url(self._url)}: {reason}", kind=kind)

    def _fetch_rest(self, file: BinaryIO) -> None:
        with self._respond() as response:
            part = response.headers.get("Content-Range", "")
            # A server may ignore the range, or send another one than it was asked for.
            goes_on = self._received and part.startswith(f"bytes {self._received}-")
            if not goes_on or response.status_code != HTTPStatus.PARTIAL_CONTENT:
                self._begin_anew(response, file)
            while True:
                try:
                    chunk = response.raw.read1(CHUNK_BYTES, decode_content=True)
                except network_errors() as error:
                    self._check_deadline()
                    raise _BrokenOffError(name_trouble(error)) from error
                # Where no length is known, being broken off looks like the end.
                self._check_deadline()
                if not chunk:
                    break
                self._received += len(chunk)
                self._check_size(self._received)
                file.write(chunk)
                if self._progress is not None:
                    self._progress(self._received, self._total)
            if self._total not in {None, self._received}:
                raise _BrokenOffError("the transfer broke off")

    def _begin_anew(self, response: Response, file: BinaryIO) -> None:
        """Take note of the content that a response announces, and forget what was there of it."""
        if response.status_code != HTTPStatus.OK:
            raise self.error(status_title(response.status_code))
        headers = response.headers
        file.seek(0)
        file.truncate()
        self._received, self._total, self._validator = 0, None, None
        # The length and the ranges of packed content are not those of what is written.
        if headers.get("Content-Encoding", "identity") == "identity":
            length, tag = headers.get("Content-Length", ""), headers.get("ETag", "")
            self._total = int(length) if length.isascii() and length.isdigit() else None
            # A weak tag (W/"…") promises no equal bytes.
            self._validator = tag if tag.startswith('"') else headers.get("Last-Modified")
            self._check_size(self._total or 0)

    def _respond(self) -> Response:
        """Get the file, or the rest of it: from who is busy and says when, then."""
        for waits in range(MAX_WAITS + 1):
            response = self._follow_redirects()
            wait_s = None
            if response.status_code in _SAYS_WHEN and waits < MAX_WAITS:
                wait_s = retry_after_s(response.headers.get("Retry-After"), time.time())
            if wait_s is None or wait_s >= self._deadline.left_s:
                break
            response.close()
            self._deadline.pause(max(wait_s, MIN_WAIT_S))
        return response

    def _follow_redirects(self) -> Response:
        url = self._url
        self._trail.begin()
        for _ in range(MAX_REDIRECTS + 1):
            response = self._request(url)
            location = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or not location:
                return response
            response.close()
            try:
                url = urljoin(url, location)
                scheme, *_ = _origin(url)
            except ValueError as error:
                raise self.error("a redirect to an address that makes no sense") from error
            if scheme not in {"http", "https"}:
                raise self.error(f"a redirect to {mask_url(url)}, which is not http(s)")
        raise self.error(f"more than {MAX_REDIRECTS} redirects")

    def _request(self, url: str) -> Response:
        self._check_deadline()
        headers = {}
        if self._received and self._validator is not None:
            headers = {"Range": f"bytes={self._received}-", "If-Range": self._validator}
        try:
            bare, _ = split_credentials(url)
            return self._session.get(
                bare,
                headers=headers,
                # Where a redirect leads to another host, the password does not follow.
                auth=self._auth if _origin(url) == self._origin else NoAuth(),
                timeout=(CONNECT_TIMEOUT_S, min(STALL_TIMEOUT_S, self._timeout_s)),
                stream=True,
            )
        except AddressRefusedError as error:
            raise self.error(str(error), kind="private") from error
        except network_errors() as error:
            self._check_deadline()
            trouble = name_trouble(error)
            if self._received or trouble == "connection lost":
                raise _BrokenOffError(trouble) from error
            raise self.error(trouble) from error

    def _check_deadline(self) -> None:
        if self._deadline.ended == "interrupted":
            raise self.error("the scan was ended", kind="interrupted")
        if self._deadline.ended == "timeout":
            raise self.error(f"not fetched within {self._timeout_s:g} s", kind="timeout")

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise too_large(self._url, self._max_bytes)


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port; raises ValueError for what is no URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port
