"""Weights from the model hub: from its cache, else a quick probe and then the download.

The hub's own client retries for some 47 s before it gives up. Whether the hub can be reached is
settled here first, in `SETTLED_S`, name resolution, proxies and our own imports included.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from guardian_cli.errors import MissingError
from guardian_cli.http import name_trouble, network_errors
from guardian_cli.urls import mask_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Of the 3 s that finding out may take, counted from before the first import.
SETTLED_S = 2.4
ANSWER_S = 2.0
NEWS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file on the hub: its repository, and the names it may have there, the best one first."""

    repository: str
    names: Sequence[str]

    @classmethod
    def read(cls, entry: str) -> HubFile:
        """Read open_clip's `hf_hub` entry: `owner/name/file`, or `owner/name/` for the usual file.

        A safetensors twin of a pickled file comes first, as open_clip itself has it.
        """
        repository, _, name = entry.rpartition("/")
        if not name:
            return cls(repository, ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"))
        stem, dot, ending = name.rpartition(".")
        if dot and ending in {"bin", "pth"}:
            return cls(repository, (f"{stem}.safetensors", name))
        return cls(repository, (name,))


@dataclass(frozen=True, slots=True)
class Hub:
    """A model hub and its cache. None: huggingface_hub's own, which HF_ENDPOINT and HF_HOME set."""

    endpoint: str | None = None
    cache_dir: Path | None = None

    def find(self, file: HubFile, what: str, *, offline: bool, tell: Callable[[str], None]) -> Path:
        """The local path of a hub file, downloaded if need be; `what` names it for messages.

        With `offline` only the cache is looked at. Raises MissingError when it can't be had.
        """
        deadline = time.monotonic() + SETTLED_S
        from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

        for name in file.names:
            found = try_to_load_from_cache(file.repository, name, cache_dir=self.cache_dir)
            if isinstance(found, str):
                return Path(found)
        hint = (
            f"guardian doctor --fetch-weights, where there is a network, fills {self.folder} "
            "(HF_HOME names another place); that folder may be copied"
        )
        if offline or constants.HF_HUB_OFFLINE:
            message = f"the weights of {what} are not in the cache, and this is offline"
            raise MissingError(message, hint=hint)
        address = self.endpoint or constants.ENDPOINT
        name = _settle(file, address, what, hint, deadline)
        tell(f"downloading {what} from {mask_url(address)}")
        try:
            path = hf_hub_download(
                file.repository,
                name,
                cache_dir=self.cache_dir,
                endpoint=self.endpoint,
                tqdm_class=type("Progress", (DownloadProgress,), {"what": what, "tell": tell}),
            )
        except Exception as error:  # The HTTP library under it differs by version.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            # A mirror's address may hold a token.
            reason = reason.replace(address, mask_url(address))
            raise MissingError(f"the download of {what} failed: {reason}") from error
        return Path(path)

    @property
    def folder(self) -> Path:
        """Where the cache is."""
        from huggingface_hub import constants

        return self.cache_dir or Path(constants.HF_HUB_CACHE)


class DownloadProgress:
    """Stands in for tqdm in the hub's client: tells lines instead of drawing a bar."""

    what = ""
    tell: Callable[[str], None]

    def __init__(self, *_: Any, total: float | None = None, initial: float = 0, **__: Any) -> None:
        self.total = total
        self.n = initial
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is drawn, so there is nothing to put away."""

    def update(self, n: float | None = 1) -> None:
        """Count `n` more bytes; tell of them at most once in NEWS_EVERY_S, and at the end."""
        self.n += n or 0
        now = time.monotonic()
        if not self.total or (self.n < self.total and now - self._told_at < NEWS_EVERY_S):
            return
        self._told_at = now
        megabytes = f"{self.n / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        type(self).tell(f"{self.what}: {megabytes} ({self.n / self.total:.0%})")

    def refresh(self, *_: Any, **__: Any) -> None:
        """Part of tqdm's interface, as are its other names."""

    close = set_description = set_postfix_str = clear = refresh


def _settle(file: HubFile, address: str, what: str, hint: str, deadline: float) -> str:
    """Which of a file's names the hub has, found out before `deadline` (monotonic seconds)."""
    import requests
    from huggingface_hub import hf_hub_url

    answers: list[int | str] = []

    def probe() -> None:
        for name in file.names:
            try:
                with requests.Session() as session:
                    url = hf_hub_url(file.repository, name, endpoint=address)
                    # A redirect to the hub's storage is not followed: the hub has the file then.
                    reply = session.head(url, timeout=ANSWER_S, stream=True)
                    answers.append(reply.status_code)
            except network_errors() as error:
                answers.append(name_trouble(error))
            if answers[-1] != 404:
                return

    # A thread bounds what a time-out does not: name resolution, and one address after another.
    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    last = "no answer in time" if thread.is_alive() else answers[-1]
    # 401 and 403 are the hub's own answers, which the download explains better.
    if isinstance(last, str) or last == 407 or last >= 500:
        reason = last if isinstance(last, str) else f"HTTP {last}"
        raise MissingError(
            f"the weights of {what} are not in the cache, and the model hub "
            f"{mask_url(address)} can't be reached ({reason})",
            hint=hint,
        )
    if last == 404:
        raise MissingError(f"the model hub {mask_url(address)} has no weights of {what}")
    return file.names[len(answers) - 1]
