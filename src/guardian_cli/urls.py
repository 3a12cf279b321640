"""URLs as they may be shown: no user, no password, no query string."""

from __future__ import annotations

import re

_WEB = re.compile(r"(https?|rtsps?):[/\\]*", re.IGNORECASE)
# Elsewhere, as in sqlite:////data/runs.db, the number of slashes has a meaning.
_OTHER = re.compile(r"[a-z][a-z0-9+.\-]*:[/\\]+", re.IGNORECASE)
# Wherever one begins in a text.
ADDRESS = re.compile(f"{_WEB.pattern}|{_OTHER.pattern}", re.IGNORECASE)
_HOST = re.compile(r"([^:\[\]\\]+|\[[0-9a-f:.]+(%\w+)?\])(:\d*)?", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f\u2028\u2029]")


def mask_url(url: str) -> str:
    """Return `url` fit for a screen or a report, such as `https://host/clip.mp4?…`.

    User, password, query string and fragment go; a query or fragment leaves `?…` behind. Never
    raises: what is malformed is cut rather than shown, what has no scheme is returned unchanged.
    """
    web = _WEB.match(url)
    head = web or _OTHER.match(url)
    if head is None:
        return url
    start = f"{web[1].lower()}://" if web else head[0].lower()
    rest = _CONTROL.sub("", url[head.end() :])
    authority, path, more = _split(rest)
    if "@" in rest and not _HOST.fullmatch(authority.rpartition("@")[2]):
        # A password with a bare / ? or # in it: what stands before the last @ may all be secret.
        authority, path, more = _split(rest.rpartition("@")[2])
    return f"{start}{authority.rpartition('@')[2]}{path}{'?…' if more else ''}"


def _split(text: str) -> tuple[str, str, bool]:
    """Return the authority, the path, and whether a query or a fragment follows."""
    kept, *more = re.split(r"[?#]", text, maxsplit=1)
    authority, slash, path = kept.partition("/")
    return authority, slash + path, bool(more)
