"""The decoder's own process: `python -m guardian_cli.media.worker.main`, orders in, frames out.

It may crash, hang or run out of memory without harm to the one that started it, and it ends when
that one does: its standard input closes then, whatever way the other has gone.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.errors import SourceError
from guardian_cli.media.frames import DecodeSettings, Window
from guardian_cli.media.worker.logs import Log
from guardian_cli.media.worker.pipe import Orders, Pipe, StoppedError

if TYPE_CHECKING:
    from guardian_cli.media.worker.session import Session


class Worker:
    """Carries out orders, one at a time. The last source stays open to be refined."""

    def __init__(self, fd: int, log: Log) -> None:
        self._fd = fd
        self._log = log
        self._orders = Orders()
        self._session: Session | None = None

    def run(self) -> None:
        """Say that we are ready and serve until standard input closes."""
        Pipe(self._fd, 0, self._orders).send({"type": "ready"})
        while True:
            order = self._orders.next()
            pipe = Pipe(self._fd, order["order"], self._orders)
            end: dict[str, Any] = {"type": "end"}
            memory_mb = order.get("settings", {}).get("memory_mb")
            no_memory = f"more than {memory_mb} MB of" if memory_mb else "too much"
            no_memory = f"needs {no_memory} memory"
            try:
                self._carry_out(order, pipe)
            except SourceError as error:
                end = {"type": "error", "kind": error.kind, "message": str(error)}
                self._log.read()
                if self._log.out_of_memory:
                    # FFmpeg said so and went on without: whatever failed, this is the cause.
                    end |= {"kind": "memory", "message": no_memory}
            # The parent wants no more of it, but still waits to hear that it has ended.
            except StoppedError:
                pass
            except MemoryError:
                end = {"type": "error", "kind": "memory", "message": no_memory}
            except Exception as error:  # noqa: BLE001 - whatever fails, the source was not seen
                what = f"the decoder failed ({type(error).__name__})"
                end = {"type": "error", "kind": "crashed", "message": what}
            session = self._session
            pipe.send({**end, "coverage": asdict(session.coverage()) if session else None})

    def _carry_out(self, order: dict[str, Any], pipe: Pipe) -> None:
        from guardian_cli.media.worker.session import Session  # noqa: PLC0415 - loads the libraries

        if order["do"] == "refine" and self._session is not None:
            windows = [Window(**window) for window in order["windows"]]
            self._session.refine(windows, order["step_s"], pipe)
        if order["do"] == "open":
            if self._session is not None:
                self._session.close()
            settings = DecodeSettings(**order["settings"])
            _limit_memory(settings.memory_mb)
            self._session = Session(order["location"], settings, self._log, pipe)
            self._session.run()


def _limit_memory(memory_mb: int) -> None:
    """Let this process grow by `memory_mb` over what the libraries take up; Linux only."""
    try:
        # By address space, since Linux enforces no other limit on one process's memory.
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return
    limit = pages * os.sysconf("SC_PAGE_SIZE") + memory_mb * (1 << 20)
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))


def main() -> None:
    """Keep the pipe for messages, send all other output into the log, and serve."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is the parent's
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash over an upload is no event
    # Libraries print to stdout as well: messages go through a copy of it.
    fd = os.dup(1)
    log = Log()
    log.redirect()
    import guardian_cli.media.worker.session  # noqa: F401, PLC0415 - loads the libraries

    Worker(fd, log).run()


if __name__ == "__main__":
    main()
