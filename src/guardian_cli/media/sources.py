"""What the user named: files, folders, globs, URLs, clouds, streams, a list on stdin."""

from __future__ import annotations

import codecs
import glob
import hashlib
import os
import re
import stat
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

from guardian_cli.errors import UsageError
from guardian_cli.media.cloud import is_cloud, list_cloud, open_cloud
from guardian_cli.media.sniff import HEAD_BYTES, has_known_ending, shows_media
from guardian_cli.urls import ADDRESS, mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

WORKSPACE = ".guardian"
# In the folder of an evidence sheet, whose stills are no uploads.
REPORT_MARK = ".guardian-report"
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]+)://")
_CONTROL = re.compile(rb"[\x01-\x08\x0e-\x1a\x1c-\x1f]")

SourceKind = Literal["file", "url", "cloud", "stream", "missing", "unsupported", "closed", "empty"]
SCANNED_KINDS = frozenset({"file", "url", "cloud", "stream"})
_KINDS: dict[str, SourceKind] = {
    "http": "url", "https": "url", "rtsp": "stream", "rtsps": "stream",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """One thing to scan. `shown` is safe to print: no password, no query string, valid Unicode.

    `root` is the folder that was named, or a pattern's part before its first wildcard, where the
    source was found below one.
    """

    kind: SourceKind
    location: str
    shown: str
    root: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """What the source is called on every machine, wherever its folder is mounted there."""
        if self.root:
            return self.location.removeprefix(self.root).lstrip(os.sep)
        # Not for addresses, where // means something.
        return self.location if _SCHEME.match(self.location) else os.path.normpath(self.location)

    @property
    def identity(self) -> str | None:
        """What tells apart sources that are shown alike; None where `shown` is enough.

        Of an address, which is masked, it is a digest that is slow to compute: whoever reads a
        report can't try out tokens with it.
        """
        if self.shown == self.location:
            return None
        if self.kind in {"file", "missing", "closed", "empty"}:
            # A file's stray bytes are shown as text that another's name may hold.
            name = self.location.encode("utf-8", "surrogateescape")
            return hashlib.sha256(name).hexdigest()[:32]
        salt = self.shown.encode()
        return hashlib.scrypt(
            self.location.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=16
        ).hex()


def expand_sources(
    named: Iterable[str],
    stdin: BinaryIO | None = None,
    skipped: Counter[str] | None = None,
    *,
    offline: bool = False,
    connect: Callable[[str], Any] = open_cloud,
) -> list[Source]:
    """Turn what was named into sources, each once, in order.

    What folders hold and is left out is counted in `skipped`, by reason. A path that is not there
    becomes a source of kind `missing`. Storage in a cloud is reached by `connect`, but not where
    `offline` is set. Raises UsageError for a folder or glob with nothing in it, when nothing at all
    was named, and for a standard input that is no list; MissingError for a cloud's library.
    """
    search = _Search(Counter() if skipped is None else skipped, None if offline else connect)
    for name in named:
        if name != "-":
            search.add_named(name)
            continue
        for line in _read_list(stdin) if stdin is not None else ():
            # Never a pattern, and nothing in it ends the whole list.
            if not search.add(line):
                search.keep("empty", line)
    if not search.found:
        raise UsageError("no source was named", hint="guardian scan VIDEO, or a folder, or a URL")
    return list(search.found.values())


def find_source(name: str) -> Source:
    """Turn a name into the source that it is, never a pattern; UsageError where it is several."""
    search = _Search(Counter(), None)
    search.add(name)
    if os.path.isdir(name) or len(search.found) != 1:  # noqa: PTH112
        raise UsageError(f"{show_path(name)}: a folder, not one source")
    return next(iter(search.found.values()))


class _Search:
    """Collects sources by what they are, so that each comes once, whatever it is called.

    Names are taken as text, not as Path: what comes from outside may be no valid one, and the
    report shows it as it was written.
    """

    def __init__(self, skipped: Counter[str], connect: Callable[[str], Any] | None) -> None:
        self.found: dict[object, Source] = {}
        self._skipped = skipped
        self._connect = connect
        self._root = self._pattern_root = ""
        self._left_out: set[object] = set()

    def keep(self, kind: SourceKind, name: str, identity: object = None) -> None:
        """Keep a source unless it is here already."""
        self.found.setdefault(identity or name, Source(kind, name, show_path(name), self._root))

    def add_named(self, name: str) -> None:
        """Add what a name on the command line stands for; it may be a pattern."""
        if os.path.lexists(name) or _SCHEME.match(name) or not glob.has_magic(name):
            if not self.add(name, is_pattern=True):
                raise UsageError(
                    f"{show_path(name)}: no video or image in this folder",
                    hint="a file that is named itself is always tried, whatever its ending",
                )
            return
        before_wildcard = re.split(r"[*?[]", name, maxsplit=1)[0]
        self._pattern_root = before_wildcard.rpartition(os.sep)[0]
        added = [
            self.add(match)
            for match in sorted(glob.glob(name, recursive=True))  # noqa: PTH207
            if "**" not in name or not os.path.isdir(match)  # noqa: PTH112
        ]
        self._pattern_root = ""
        if not any(added):
            raise UsageError(f"{show_path(name)}: nothing matches")

    def add(self, name: str, *, is_pattern: bool = False) -> bool:
        """Add a file, a folder's files or an address; False for a folder with nothing in it.

        `is_pattern` says that an address in a cloud may be one.
        """
        bare = name.strip(" \t\r\n\ufeff")
        if _SCHEME.match(bare) and not os.path.lexists(name):
            # A line that was copied from somewhere.
            name = bare
        self._root = self._pattern_root or (name if os.path.isdir(name) else "")  # noqa: PTH112
        scheme = _SCHEME.match(name)
        if is_cloud(name) and not os.path.lexists(name):
            listed = None
            if self._connect is not None:
                listed = list_cloud(
                    name, self._skipped, is_pattern=is_pattern, connect=self._connect
                )
            for url in [name] if listed is None else listed:
                self.found.setdefault(url, Source("cloud", url, mask_url(url)))
            return listed != []
        elif scheme and not os.path.lexists(name):
            kind = _KINDS.get(scheme[1].lower(), "unsupported")
            self.found.setdefault(name, Source(kind, name, mask_url(name)))
        elif os.path.isdir(name):  # noqa: PTH112
            return self.add_folder(name)
        else:
            try:
                self.keep("file", name, _identify(os.stat(name)))  # noqa: PTH116
            except (OSError, ValueError):
                self.keep("missing", name)
        return True

    def add_folder(self, name: str) -> bool:
        """Add what a folder and those below hold; links are followed, each folder once."""
        found, entered, waiting = False, set[object](), [name]
        while waiting:
            folder = waiting.pop()
            try:
                identity = _identify(os.stat(folder))  # noqa: PTH116
                if identity in entered:
                    continue
                entered.add(identity)
                with os.scandir(folder) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError:
                # What may not be looked into is not skipped in silence: it ends as an error.
                self.keep("closed", folder)
                found = True
                continue
            if folder != name and any(entry.name == REPORT_MARK for entry in entries):
                self._skipped["guardian's report"] += 1
                continue
            inner: list[str] = []
            for entry in entries:
                # Not `entry.is_dir()`, which raises for a link to itself or into a closed folder.
                if os.path.isdir(entry.path) and not entry.name.startswith("."):  # noqa: PTH112
                    inner.append(entry.path)
                else:
                    found |= self.add_entry(entry)
            # A stack: reversed, the first folder comes next, so that all are in order.
            waiting += reversed(inner)
        return found

    def add_entry(self, entry: os.DirEntry[str]) -> bool:
        """Add a file of a folder, or count it as skipped; say whether it is one to scan."""
        try:
            status = entry.stat()
        except OSError:
            # A link to nothing: one that claims to be a video is missed, any other is not.
            if has_known_ending(entry.name) and not entry.name.startswith("."):
                self.keep("missing", entry.path)
                return True
            self._skipped["broken link"] += 1
            return False
        identity = _identify(status)
        reason = _why_skipped(entry, status)
        if reason is not None:
            if identity not in self._left_out:
                self._left_out.add(identity)
                self._skipped[reason] += 1
            return False
        here = self.found.get(identity)
        if here is None:
            self.keep("file", entry.path, identity)
        elif os.path.abspath(here.location) != os.path.abspath(entry.path):  # noqa: PTH100
            self._skipped["the same file again"] += 1
        return True


def _identify(status: os.stat_result) -> object:
    return status.st_dev, status.st_ino


def _why_skipped(entry: os.DirEntry[str], status: os.stat_result) -> str | None:
    """Return why a folder's entry is left out, None for what is to be scanned."""
    if entry.name == WORKSPACE and stat.S_ISDIR(status.st_mode):
        return "guardian's workspace"
    if entry.name.startswith("."):
        return "hidden"
    if not stat.S_ISREG(status.st_mode):
        return "no regular file"
    if has_known_ending(entry.name):
        return None
    try:
        with open(entry.path, "rb", buffering=0) as file:  # noqa: PTH123
            return None if shows_media(file.read(HEAD_BYTES)) else "no video or image"
    except OSError:
        # Nobody knows what it is, so it is tried, and ends as an error that says why.
        return None


def _read_list(stdin: BinaryIO) -> Iterator[str]:
    """Yield the names in a list with a name a line, or a NUL after each as `find -print0` writes.

    Raises UsageError for what is no list: a video, say.
    """
    listed = stdin.read(HEAD_BYTES)
    # A video's first bytes tell, before all of it is read.
    for more in (False, True):
        listed += stdin.read() if more else b""
        # No name is empty and hardly one has control characters, but a binary file soon has both.
        binary = _CONTROL.search(listed) is not None
        if b"\0" in listed:
            binary = listed[:1] == b"\0" or b"\0\0" in listed or (binary and shows_media(listed))
        if binary:
            raise UsageError(
                "standard input holds binary data, but - reads a list of names",
                hint="guardian scan FILE, or: find uploads -type f | guardian scan -",
            )
    if listed.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes
        listed = listed.decode("utf-16", "replace").encode()
    separator = b"\0" if b"\0" in listed else b"\n"
    for name in listed.removeprefix(codecs.BOM_UTF8).split(separator):
        kept = name if separator == b"\0" else name.rstrip(b"\r")
        if kept.strip():
            yield os.fsdecode(kept)


def skipped_line(skipped: Mapping[str, int]) -> str:
    """Say what folders held and was not scanned, the most frequent reason first."""
    reasons = sorted(skipped.items(), key=lambda one: (-one[1], one[0]))
    parts = ", ".join(f"{number} {reason}" for reason, number in reasons)
    return f"{sum(skipped.values())} skipped: {parts}"


def show_path(name: str) -> str:
    """A path as text that can be printed and put into JSON, whatever bytes are in it."""
    # What is no file may be an address with a quote before it, or a slash too few.
    address = ADDRESS.search(name)
    if address is not None and not os.path.lexists(name):
        name = name[: address.start()] + mask_url(name[address.start() :])
    return os.fsencode(name).decode("utf-8", "backslashreplace") if "\0" not in name else repr(name)
