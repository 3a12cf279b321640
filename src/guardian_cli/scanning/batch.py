"""Many sources, some side by side: hands each to a worker thread and gives results as they end."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batch(Generic[Item, Result]):
    """Runs `work(item)` over items in `workers` threads; each thread makes its own `work`.

    What `work` raises is raised out of `results`, and ends the batch; None is no result.
    """

    def __init__(
        self,
        items: Iterable[Item],
        make_work: Callable[[], Callable[[Item], Result | None]],
        workers: int,
    ) -> None:
        self._items = iter(items)
        self._make_work = make_work
        self._lock = threading.Lock()
        self._begun = False
        self._stopped = threading.Event()
        self._done: queue.SimpleQueue[Result | BaseException | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._run, name=f"source-{number}", daemon=True)
            for number in range(workers)
        ]

    def start(self) -> None:
        """Begin the work; `results` does it if need be."""
        for thread in self._threads:
            thread.start()
        self._begun = True

    def results(self) -> Iterator[Result]:
        """Yield results in the order in which they end."""
        if not self._begun:
            self.start()
        running = len(self._threads)
        while running:
            # With a time-out, so that Ctrl-C is seen on every platform.
            try:
                done = self._done.get(timeout=0.2)
            except queue.Empty:
                continue
            if done is None:
                running -= 1
            elif isinstance(done, BaseException):
                self.stop()
                raise done
            else:
                yield done

    def ended(self) -> Iterator[Result]:
        """Yield the results that are there already; never waits."""
        with contextlib.suppress(queue.Empty):
            while True:
                done = self._done.get_nowait()
                if done is not None and not isinstance(done, BaseException):
                    yield done

    def stop(self) -> None:
        """Start nothing more; what runs is for `work` itself to end."""
        self._stopped.set()

    def join(self, timeout_s: float) -> None:
        """Wait until all threads have ended, `timeout_s` at the most."""
        end_s = time.monotonic() + timeout_s
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, end_s - time.monotonic()))

    def _run(self) -> None:
        try:
            work = self._make_work()
            while not self._stopped.is_set():
                with self._lock:
                    item = next(self._items, None)
                if item is None:
                    break
                result = work(item)
                if result is not None:
                    self._done.put(result)
        except BaseException as error:  # noqa: BLE001 - raised again by whoever reads the results
            self._done.put(error)
        finally:
            self._done.put(None)
