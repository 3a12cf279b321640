"""Whose turn it is to decode: as many sources at a time as there are workers.

What has to be downloaded is downloaded before that: a slow server must not hold a turn. How many
are downloaded at a time, or lie there and wait, is bounded as well, and with it the disk they take.

A source gives its turn on when its last frame is submitted, so the next one is decoded while the
scores are awaited. A video keeps its decoder until it is judged: the file is still open there, for
a refinement. That is why there are some more decoders than turns.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from guardian_cli.media.decoder import Decoder
from guardian_cli.scanning.scorer import ScoringStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guardian_cli.media.frames import Opener

# Two batches of the model are about six clips of three frames, or sixteen pictures.
EXTRA_DECODERS = 6
EXTRA_SOURCES = 16
EXTRA_DOWNLOADS = 4


class DecoderPool:
    """Decoders and the turns to use them; a decoder is made when it is needed. Thread-safe.

    `close` ends them all, from any thread; whoever waits for a turn gets ScoringStopped.
    """

    def __init__(self, workers: int, new_decoder: Callable[[], Opener] = Decoder) -> None:
        self._new_decoder = new_decoder
        self._turns = workers
        self._downloads = workers + EXTRA_DOWNLOADS
        self._max_decoders = workers + EXTRA_DECODERS
        self._decoders: list[Opener] = []
        # Those of the decoders above that no source holds.
        self._idle: list[Opener] = []
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def lease(self) -> Iterator[DecoderLease]:
        """A lease for one source; at its end the turn and the decoder are given back."""
        lease = DecoderLease(self)
        try:
            yield lease
        finally:
            lease.finish()

    @contextmanager
    def download_slot(self) -> Iterator[None]:
        """Wait until fewer sources are downloaded, or lie there for a turn, than may be."""
        with self._changed:
            self._wait_for(lambda: self._downloads > 0)
            self._downloads -= 1
        try:
            yield
        finally:
            with self._changed:
                self._downloads += 1
                self._changed.notify_all()

    def take(self, held: Opener | None) -> Opener:
        """Wait for a turn, and for a decoder to use it with where none is held."""

        def is_free() -> bool:
            has_decoder = held or self._idle or len(self._decoders) < self._max_decoders
            return self._turns > 0 and bool(has_decoder)

        with self._changed:
            # Both at once: who held a turn and waited for a decoder could wait for ever.
            self._wait_for(is_free)
            self._turns -= 1
            if held is not None:
                return held
            if not self._idle:
                self._decoders.append(self._new_decoder())
                return self._decoders[-1]
            return self._idle.pop()

    def give_back(self, decoder: Opener | None, *, turn: bool) -> None:
        """Let others have a decoder, or a turn, or both."""
        with self._changed:
            if decoder is not None:
                self._idle.append(decoder)
            self._turns += turn
            self._changed.notify_all()
            is_late = self._closed
        if decoder is not None and is_late:
            # Its process may have been started after `close` had ended the one before.
            decoder.close()

    def close(self) -> None:
        """End all decoders and begin nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        # Not under the lock: who gives back a decoder must not wait for others to end.
        for decoder in self._decoders:
            decoder.close()

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        self._changed.wait_for(lambda: self._closed or condition())
        if self._closed:
            raise ScoringStopped


class DecoderLease:
    """One source's turn and decoder. For the thread that scans it."""

    def __init__(self, pool: DecoderPool) -> None:
        self.pool = pool
        self._decoder: Opener | None = None
        self._has_turn = False

    def start(self) -> Opener:
        """Wait for a turn; return the source's decoder, the same one each time until `finish`."""
        if self._decoder is None or not self._has_turn:
            self._decoder = self.pool.take(self._decoder)
            self._has_turn = True
        return self._decoder

    def pause(self) -> None:
        """Give the turn on and keep the decoder, in which the file is open."""
        self.pool.give_back(None, turn=self._has_turn)
        self._has_turn = False

    def finish(self) -> None:
        """Give back what is held: nothing more is to be decoded."""
        self.pool.give_back(self._decoder, turn=self._has_turn)
        self._decoder, self._has_turn = None, False
