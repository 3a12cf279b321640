"""Print a table of what the decoder makes of each file in a folder, beside ffprobe's account.

    python tests/media/corpus_table.py FOLDER... [--mode full] [--odd]

`--odd` leaves out rows where both agree: complete with the same number of frames.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from guardian_cli.errors import SourceError
from guardian_cli.media.decoder import Decoder
from guardian_cli.media.frames import DecodeSettings
from tests.media.oracle import Account, account


def row(decoder: Decoder, path: Path, mode: str, other: Account) -> tuple[str, bool]:
    """One line about a file, and whether it holds no surprise."""
    began_s = time.monotonic()
    decoding = decoder.open(str(path), DecodeSettings(mode="full" if mode == "full" else "fast"))
    error = ""
    try:
        times = [frame.time_s for frame in decoding.frames()]
    except SourceError as problem:
        error, times = f"{problem.kind}: {problem}", []
    wall_s = time.monotonic() - began_s
    coverage, facts = decoding.coverage, decoding.facts
    shown = f"{facts.kind} {facts.codec} {facts.width}x{facts.height}" if facts else "-"
    ours = f"{coverage.frames_decoded:5} {other.frames:5}"
    state = "complete" if coverage.complete else "ERROR" if error else "incomplete"
    said = error or "; ".join(coverage.notes)
    length = "" if coverage.duration_s is None else f"{coverage.duration_s:.2f}"
    name = "/".join(path.parts[-2:])
    text = f"{name:52.52} {shown:26.26} {ours} {other.errors:4} {state:10} {coverage.decode:4}"
    text += f" {length:>8} e{coverage.decode_errors:<3} {wall_s:5.2f}s {len(times):4} {said}"
    return text, coverage.complete and coverage.frames_decoded == other.frames and other.errors == 0


def main() -> None:
    """Read the arguments and print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--mode", default="full", choices=["full", "fast"])
    parser.add_argument("--odd", action="store_true")
    options = parser.parse_args()
    files = [f for top in options.folders for f in ([top] if top.is_file() else top.rglob("*"))]
    with Decoder() as decoder:
        for path in sorted(file for file in files if file.is_file()):
            other = account(path) or Account(-1, (), 0)
            text, expected = row(decoder, path, options.mode, other)
            if not (options.odd and expected):
                print(text, flush=True)


if __name__ == "__main__":
    main()
