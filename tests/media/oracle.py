"""What `ffprobe` makes of a file: how many frames its default video gives, and when each is shown.

Of the files that the tests share `golden.json` holds what it said once, so that the program need
not be installed:

    python tests/media/oracle.py FOLDER... > tests/media/golden.json
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

GOLDEN = Path(__file__).with_name("golden.json")
PROGRAM = shutil.which("ffprobe")
EVERY_S = 0.5
MAX_SAMPLES = 200


@dataclass(frozen=True)
class Account:
    """Frames that were decoded, and which of them are samples, in seconds from the first frame.

    There are no samples where time stamps are missing or step back.
    """

    frames: int
    samples_s: tuple[float, ...]
    errors: int


def account(path: Path) -> Account | None:
    """Return ffprobe's account of a file; None where it is not installed and was not asked once."""
    found = golden().get("/".join(path.parts[-2:]))
    if found is not None:
        return Account(found[0], tuple(found[1]), 0)
    return measured(path) if PROGRAM is not None else None


def measured(path: Path) -> Account:
    """Have ffprobe decode all of the default video track of a file."""
    about, opening_errors = probe(path, "-show_streams")
    streams = about.get("streams", [])
    videos = [
        stream
        for stream in streams
        if stream["codec_type"] == "video" and not stream["disposition"]["attached_pic"]
    ]
    marked = [stream for stream in videos if stream["disposition"]["default"]]
    chosen = next(iter(marked + videos), None)
    if chosen is None:
        return Account(0, (), 0)
    entries = "frame=pts_time,pkt_dts_time,media_type"
    said, errors = probe(
        path, "-select_streams", str(chosen["index"]), "-show_frames", "-show_entries", entries
    )
    shown = [frame for frame in said.get("frames", []) if frame.get("media_type") == "video"]
    stamps = [frame.get("pts_time", frame.get("pkt_dts_time")) for frame in shown]
    times_s = [float(stamp) - float(stamps[0]) for stamp in stamps if stamp and stamps[0]]
    steady = len(times_s) == len(shown) and all(a < b for a, b in pairwise(times_s))
    decode_errors = max(0, errors - opening_errors)
    return Account(len(shown), samples(times_s) if steady else (), decode_errors)


def samples(times_s: Sequence[float]) -> tuple[float, ...]:
    """The samples by the book: the first frame at or after each grid time, and the last frame."""
    taken: list[float] = []
    due = 0
    for time_s in times_s:
        if time_s >= due * EVERY_S - 1e-6:
            taken.append(round(time_s, 6))
            due = int((time_s + 1e-6) / EVERY_S) + 1
    last = [round(time_s, 6) for time_s in times_s[-1:]]
    return tuple(taken if taken[-1:] == last else taken + last)


def probe(path: Path, *arguments: str) -> tuple[dict[str, Any], int]:
    """Run ffprobe; return what it says and how many lines of errors."""
    command = [PROGRAM or "ffprobe", "-v", "error", "-threads", "1", "-of", "json", *arguments]
    done = subprocess.run([*command, f"file:{path}"], capture_output=True, check=False)
    errors = len(done.stderr.splitlines())
    try:
        return json.loads(done.stdout), errors
    except ValueError:  # what it was about to say of a damaged file, cut short
        return {}, errors + 1


@cache
def golden() -> dict[str, Any]:
    """The numbers of `golden.json` by folder and name."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text(encoding="utf-8"))
    return found


def main() -> None:
    """Print what is known of all files below folders that ffprobe has nothing against."""
    files = sorted(file for top in sys.argv[1:] for file in Path(top).rglob("*") if file.is_file())
    lines = []
    for file in files:
        found = measured(file)
        if found.frames and not found.errors and len(found.samples_s) < MAX_SAMPLES:
            values = json.dumps([found.frames, found.samples_s], separators=(",", ":"))
            lines.append(f'"{"/".join(file.parts[-2:])}": {values}')
    print("{\n" + ",\n".join(lines) + "\n}")


if __name__ == "__main__":
    main()
