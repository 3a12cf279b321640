"""Sources in cloud storage, s3://, gs://, az:// and hf://: listed as folders are, fetched whole.

fsspec knows how to reach each of them, with credentials from where the cloud's own tools look. Of
what its libraries raise no text is shown: a signed address may stand in it.
"""

from __future__ import annotations

import errno
import glob
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from guardian_cli.errors import MissingError, SourceError
from guardian_cli.media.download import too_large, write_part
from guardian_cli.media.sniff import HEAD_BYTES, has_known_ending, shows_media
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    import threading
    from collections import Counter
    from collections.abc import Callable, Mapping
    from pathlib import Path

CHUNK_BYTES = 8 << 20
# Their first bytes are all asked for, and held, at the same time: 16 MB.
SNIFFED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Cloud:
    """A kind of storage: the extra that brings its library, and options for that."""

    extra: str | None
    options: Mapping[str, Any]


# botocore's own patience is a minute for each attempt, five times over.
_PATIENCE = {"connect_timeout": 10, "read_timeout": 30, "retries": {"max_attempts": 3}}
CLOUDS = {
    "s3": Cloud("s3", {"config_kwargs": _PATIENCE}),
    "gs": Cloud("gcs", {}),
    "az": Cloud("azure", {}),
    "hf": Cloud(None, {}),
}


def open_cloud(scheme: str) -> Any:
    """Return fsspec's file system for a scheme of CLOUDS; MissingError where its extra is."""
    import fsspec

    cloud = CLOUDS[scheme]
    try:
        # A listing from its cache would lack what was uploaded since.
        return fsspec.filesystem(scheme, use_listings_cache=False, **cloud.options)
    except ImportError as error:
        raise MissingError(
            f"{scheme}:// sources need a library that is not installed",
            hint=f'pip install "guardian-cli[{cloud.extra}]"',
        ) from error


def list_cloud(
    url: str, skipped: Counter[str], *, is_pattern: bool, connect: Callable[[str], Any] = open_cloud
) -> list[str] | None:
    """Return the addresses that a prefix, or a pattern where it may be one, stands for.

    None where `url` is to be taken by itself: a file, or what can't be listed, which whoever
    fetches it then says why. What is left out is counted in `skipped`, by the reasons that folders
    have. Raises MissingError.
    """
    scheme, path = _split(url)
    files = connect(scheme)
    try:
        if is_pattern and glob.has_magic(path) and not files.exists(path):
            names = []
            for name, one in sorted(files.glob(path, detail=True).items()):
                if "/." in name and "/." not in path:
                    continue  # as in a shell, what is hidden must be named
                if one["type"] == "file":
                    names.append(name)
                elif "**" not in path:
                    names += _choose_below(files, name, skipped)
        elif files.isdir(path):
            names = _choose_below(files, path, skipped)
        else:
            return None
    except Exception:  # noqa: BLE001 - each cloud's library has errors of its own
        return None
    return [f"{scheme}://{name.lstrip('/')}" for name in names]


def _choose_below(files: Any, prefix: str, skipped: Counter[str]) -> list[str]:
    """Choose what is below a prefix as in a folder: by known endings, else by the first bytes."""
    chosen, unknown = [], []
    for name in files.find(prefix.rstrip("/") + "/"):
        inner = name.lstrip("/").removeprefix(prefix.strip("/") + "/")
        if name.endswith("/"):
            continue  # a marker that some tools leave for a folder
        if any(part.startswith(".") for part in inner.split("/")):
            skipped["hidden"] += 1
        elif has_known_ending(name):
            chosen.append(name)
        else:
            unknown.append(name)
    for at in range(0, len(unknown), SNIFFED_AT_ONCE):
        part = unknown[at : at + SNIFFED_AT_ONCE]
        heads = files.cat_ranges(part, 0, HEAD_BYTES, on_error="return")
        for name, head in zip(part, heads, strict=True):
            # What can't be read is tried, and ends as an error that says why.
            if not isinstance(head, bytes) or shows_media(head):
                chosen.append(name)
            else:
                skipped["no video or image"] += 1
    return sorted(chosen)


def fetch_cloud(
    url: str,
    folder: Path,
    *,
    timeout_s: float,
    max_bytes: int,
    stop: threading.Event | None = None,
    connect: Callable[[str], Any] = open_cloud,
) -> Path:
    """Copy an object into a new file in `folder` and return its path, the ending kept.

    Between two pieces `timeout_s` and `stop` are heeded. Raises SourceError, of kind `missing`,
    `unreachable`, `too_large`, `timeout`, `interrupted` or `unwritable`, and leaves no file behind
    then; MissingError for a library that is not installed.
    """
    scheme, path = _split(url)
    files = connect(scheme)
    end_s = time.monotonic() + timeout_s

    def read_all(file: BinaryIO) -> None:
        info = _ask(url, lambda: files.info(path))
        size_bytes = info.get("size")
        if info["type"] != "file":
            raise SourceError(f"{mask_url(url)}: a folder that can't be listed", kind="unreachable")
        if (size_bytes or 0) > max_bytes:
            raise too_large(url, max_bytes)
        received = 0
        with closing(_ask(url, lambda: files.open(path, "rb", CHUNK_BYTES))) as remote:
            while chunk := _ask(url, lambda: remote.read(CHUNK_BYTES)):
                received += len(chunk)
                # Counted as well: the size that was told may be wrong or missing.
                if received > max_bytes:
                    raise too_large(url, max_bytes)
                file.write(chunk)
                if stop is not None and stop.is_set():
                    raise SourceError(f"{mask_url(url)}: the scan was ended", kind="interrupted")
                if time.monotonic() > end_s:
                    late = f"{mask_url(url)}: not fetched within {timeout_s:g} s"
                    raise SourceError(late, kind="timeout")
        if size_bytes not in {None, received}:
            raise SourceError(
                f"{mask_url(url)}: broke off after {received} bytes", kind="unreachable"
            )

    return write_part(url, folder, read_all)


def is_cloud(url: str) -> bool:
    """Whether an address is one of cloud storage."""
    return url.partition("://")[0].lower() in CLOUDS and "://" in url


def _split(url: str) -> tuple[str, str]:
    scheme, _, path = url.partition("://")
    return scheme.lower(), path


def _ask(url: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        # Each cloud's library has errors of its own; their names are what they have in common.
        name = type(error).__name__
        kind, reason = "unreachable", f"can't be fetched ({name})"
        if isinstance(error, FileNotFoundError):
            kind, reason = "missing", "no such object"
        elif isinstance(error, PermissionError) or getattr(error, "errno", None) == errno.EACCES:
            reason = "access denied: the credentials in the environment don't allow it"
        elif "Credential" in name or "DefaultCredentials" in name:
            reason = "no credentials in the environment"
        elif isinstance(error, TimeoutError) or "Timeout" in name:
            reason = "no answer in time"
        elif isinstance(error, ConnectionError) or "Connect" in name:
            reason = "no connection"
        raise SourceError(f"{mask_url(url)}: {reason}", kind=kind) from error
