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
        cached = self._cached(file)
        if cached is not None:
            return cached
        if offline or _switched_off():
            message = f"the weights of {what} are not in the cache, and this is offline"
            raise MissingError(message, hint=self._fetch_hint)
        name = self._settle(file, what, deadline)
        tell(f"downloading {what} from {self._address}")
        return self._download(file.repository, name, what, tell)

    @property
    def folder(self) -> Path:
        """Where the cache is."""
        from huggingface_hub import constants

        return self.cache_dir or Path(constants.HF_HUB_CACHE)

    @property
    def _fetch_hint(self) -> str:
        return (
            f"guardian doctor --fetch-weights, where there is a network, fills {self.folder} "
            "(HF_HOME names another place); that folder may be copied"
        )

    @property
    def _address(self) -> str:
        from huggingface_hub import constants

        return self.endpoint or constants.ENDPOINT

    def _cached(self, file: HubFile) -> Path | None:
        from huggingface_hub import try_to_load_from_cache

        for name in file.names:
            found = try_to_load_from_cache(file.repository, name, cache_dir=self.cache_dir)
            if isinstance(found, str):
                return Path(found)
        return None

    def _settle(self, file: HubFile, what: str, deadline: float) -> str:
        """Which of the names the hub has, found out before `deadline` (monotonic seconds)."""
        from huggingface_hub import hf_hub_url

        urls = [hf_hub_url(file.repository, name, endpoint=self._address) for name in file.names]
        answers: list[int | str] = []
        # A thread bounds what a time-out does not: name resolution, and one address after another.
        probe = threading.Thread(target=_probe, args=(urls, answers), daemon=True)
        probe.start()
        probe.join(max(0.0, deadline - time.monotonic()))
        last = "no answer in time" if probe.is_alive() else answers[-1]
        if isinstance(last, str) or last == 407 or last >= 500:
            reason = last if isinstance(last, str) else f"HTTP {last}"
            raise MissingError(
                f"the weights of {what} are not in the cache, and the model hub "
                f"{self._address} can't be reached ({reason})",
                hint=self._fetch_hint,
            )
        if last == 404:
            raise MissingError(f"the model hub {self._address} has no weights of {what}")
        return file.names[len(answers) - 1]

    def _download(self, repository: str, name: str, what: str, tell: Callable[[str], None]) -> Path:
        from huggingface_hub import hf_hub_download

        try:
            path = hf_hub_download(
                repository,
                name,
                cache_dir=self.cache_dir,
                endpoint=self.endpoint,
                tqdm_class=_progress_class(what, tell),
            )
        except Exception as error:  # The HTTP library under it differs by version.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise MissingError(f"the download of {what} failed: {reason}") from error
        return Path(path)


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
        self.close()

    def update(self, n: float | None = 1) -> None:
        """Count `n` more bytes; tell of them at most once in NEWS_EVERY_S, and at the end."""
        self.n += n or 0
        now = time.monotonic()
        if not self.total or (self.n < self.total and now - self._told_at < NEWS_EVERY_S):
            return
        self._told_at = now
        megabytes = f"{self.n / 1e6:.0f} of {self.total / 1e6:.0f} MB"
        self.tell(f"{self.what}: {megabytes} ({self.n / self.total:.0%})")

    def close(self) -> None:
        """Part of tqdm's interface, as is the rest."""

    def refresh(self, *_: Any, **__: Any) -> None:
        """Nothing is drawn."""

    set_description = set_postfix_str = clear = refresh


def _progress_class(what: str, tell: Callable[[str], None]) -> type[DownloadProgress]:
    return type("Progress", (DownloadProgress,), {"what": what, "tell": staticmethod(tell)})


def _probe(urls: Sequence[str], answers: list[int | str]) -> None:
    """Ask for each file's head until one is there; the last of `answers` is what counts."""
    import requests

    for url in urls:
        try:
            with requests.Session() as session:
                answers.append(session.head(url, timeout=ANSWER_S, stream=True).status_code)
        except network_errors() as error:
            answers.append(name_trouble(error))
        if answers[-1] != 404:
            return


def _switched_off() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)
