"""Whose turn it is to decode: as many sources at a time as there are workers.

What has to be fetched is fetched before that: a slow server must not hold a turn. How many are
fetched at a time, or lie fetched and wait, is bounded as well, and with it the disk they take.

A source gives its turn on when its last frame is handed in, so the next one is decoded while the
scores are awaited. A video keeps its decoder until it is judged: the file is still open there, for
a second look. That is why there are some more decoders than turns.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guardian_cli.media.decoder import Decoder
from guardian_cli.scanning.scorer import ScoringStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from guardian_cli.media.frames import Opener

# Two batches of the model are about six clips of three frames, or sixteen pictures.
DECODERS_MORE = 6
SOURCES_MORE = 16
DOWNLOADS_MORE = 4


class Crew:
    """Decoders and the turns to use them; a decoder is made when it is needed. Thread-safe.

    `close` ends them all, from any thread; whoever waits for a turn gets ScoringStopped.
    """

    def __init__(self, workers: int, new_decoder: Callable[[], Opener] = Decoder) -> None:
        self._new_decoder = new_decoder
        self._turns = workers
        self._downloads = workers + DOWNLOADS_MORE
        self._most_decoders = workers + DECODERS_MORE
        self._decoders: list[Opener] = []
        self._idle: list[Opener] = []
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def place(self) -> Iterator[Place]:
        """A place for one source; at its end the turn and the decoder are given back."""
        place = Place(self)
        try:
            yield place
        finally:
            place.leave()

    @contextmanager
    def downloading(self) -> Iterator[None]:
        """Wait until fewer sources are fetched, or lie there for a turn, than may be."""
        with self._changed:
            self._wait_for(lambda: self._downloads > 0)
            self._downloads -= 1
        try:
            yield
        finally:
            with self._changed:
                self._downloads += 1
                self._changed.notify_all()

    def take_decoder(self) -> Opener:
        """Wait for a turn and a decoder to use it with."""
        with self._changed:
            # Both at once: who held a turn and waited for a decoder could wait for ever.
            self._wait_for(lambda: self._turns > 0 and self._decoder_to_be_had())
            self._turns -= 1
            if not self._idle:
                self._decoders.append(self._new_decoder())
                return self._decoders[-1]
            return self._idle.pop()

    def take_turn(self) -> None:
        """Wait until fewer sources are decoded than there are workers."""
        with self._changed:
            self._wait_for(lambda: self._turns > 0)
            self._turns -= 1

    def give_back(self, decoder: Opener | None, *, turn: bool) -> None:
        """Let others have a decoder, or a turn, or both."""
        with self._changed:
            if decoder is not None:
                self._idle.append(decoder)
            self._turns += turn
            self._changed.notify_all()

    def close(self) -> None:
        """End all decoders and begin nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Not under the lock: who gives back a decoder must not wait for others to end.
        for decoder in self._decoders:
            decoder.close()

    def _decoder_to_be_had(self) -> bool:
        return bool(self._idle) or len(self._decoders) < self._most_decoders

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._closed or condition())
        if self._closed:
            raise ScoringStopped


class Place:
    """One source's turn and decoder. For the thread that scans it."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._decoder: Opener | None = None
        self._has_turn = False

    def begin(self) -> Opener:
        """Wait for a turn and a decoder, which is kept until nothing more is to be decoded."""
        if self._decoder is None:
            self._decoder = self._crew.take_decoder()
            self._has_turn = True
        return self._decoder

    def fetched(self, fetch: Callable[[], Path]) -> Path:
        """Fetch a file as soon as that is allowed, and wait for a turn with it."""
        with self._crew.downloading():
            path = fetch()
            self.begin()
            return path

    def pause(self, *, for_good: bool) -> None:
        """Give the turn on; `for_good` the decoder as well, for nothing more is to be decoded."""
        decoder = self._decoder if for_good else None
        if for_good:
            self._decoder = None
        self._crew.give_back(decoder, turn=self._has_turn)
        self._has_turn = False

    def resume(self) -> None:
        """Wait for another turn with the same decoder."""
        self._crew.take_turn()
        self._has_turn = True

    def leave(self) -> None:
        """Give back what is still held."""
        self.pause(for_good=True)
