"""URLs as they may be shown: no user, no password, no query string."""

from __future__ import annotations

import re

_HEAD = re.compile(
    r"(?P<scheme>https?|rtsps?|[a-z][a-z0-9+.\-]*(?=:[/\\]))[:][/\\]*", re.IGNORECASE
)
_HOST = re.compile(r"([^:\[\]\\]+|\[[0-9a-f:.]+(%\w+)?\])(:\d*)?", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]")


def mask_url(url: str) -> str:
    """Return `url` fit for a screen or a report, such as `https://host/clip.mp4?…`.

    User, password, query string and fragment go; a query or fragment leaves `?…` behind. Never
    raises: what is malformed is cut rather than shown, what has no scheme is returned unchanged.
    """
    head = _HEAD.match(url)
    if head is None:
        return url
    rest = _CONTROL.sub("", url[head.end() :])
    kept, more = _cut_query(rest)
    authority, path = _cut_path(kept)
    if "@" in rest and not _HOST.fullmatch(authority.rpartition("@")[2]):
        # A password with a bare / ? or # in it: what stands before the last @ may all be secret.
        kept, more = _cut_query(rest.rpartition("@")[2])
        authority, path = _cut_path(kept)
    host = authority.rpartition("@")[2]
    return f"{head['scheme'].lower()}://{host}{path}{'?…' if more else ''}"


def _cut_query(text: str) -> tuple[str, bool]:
    kept = re.split(r"[?#]", text, maxsplit=1)[0]
    return kept, len(kept) < len(text)


def _cut_path(text: str) -> tuple[str, str]:
    authority = text.split("/", 1)[0]
    return authority, text[len(authority) :]
