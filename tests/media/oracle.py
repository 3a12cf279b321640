"""PyAV's account of a file: how many frames its default video gives, and when each is shown."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import av

COVER, DEFAULT = 0x400, 0x1


@dataclass(frozen=True)
class Account:
    """Frames that were decoded, their times in seconds from the first, and errors met."""

    frames: int
    times_s: tuple[float, ...]
    errors: int
    opened: bool


def account(path: Path) -> Account:
    """Decode all of the default video track of a file."""
    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(str(path))
    except (av.FFmpegError, UnicodeError):
        return Account(0, (), 1, opened=False)
    with container:
        videos = [s for s in container.streams.video if not int(s.disposition) & COVER]
        marked = [s for s in videos if int(s.disposition) & DEFAULT]
        chosen = next(iter(marked + videos), None)
        if chosen is None or chosen.codec_context is None:
            return Account(0, (), 0, opened=False)
        return _decode(container, chosen)


def _decode(container: av.container.InputContainer, stream: av.VideoStream) -> Account:
    stamps: list[float | None] = []
    errors = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError:
            errors += 1
            if errors > 64:
                break
            continue
        try:
            if packet.dts is None and packet.size == 0 and packet.pts is not None:
                continue
            stamps.extend(frame.time for frame in packet.decode())
        except av.FFmpegError:
            errors += packet.size > 0
    zero = next((stamp for stamp in stamps if stamp is not None), 0.0)
    times = tuple(stamp - zero for stamp in stamps if stamp is not None)
    return Account(len(stamps), times, errors, opened=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, account(Path(name)))
