"""Counting what the libraries say on their way to stderr."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import os
from guardian_cli.media.worker.logs import Log
out = os.dup(1)
log = Log()
log.redirect()
for _ in range(3):
    os.write(2, b"[swscaler @ 0x55aa] Cannot convert\\n (Invalid argument): fmt\\n")
    os.write(1, b"[h264 @ 0x55ab] error while decoding MB 1 2\\nsomething else\\n")
    log.read()
    os.write(out, repr(sorted(log.errors.items())).encode() + b"\\n")
os.write(2, b"libpng warning: iCCP: too short\\n")
os.write(2, b"Corrupt JPEG data: premature end\\n[hevc @ 0x1] Cannot allocate memory\\n")
log.read()
os.write(out, repr((log.errors.total(), log.image_errors, log.out_of_memory)).encode() + b"\\n")
log.forget()
os.write(out, repr((log.errors.total(), log.image_errors, log.out_of_memory)).encode() + b"\\n")
"""


def test_each_reading_sees_what_is_new_and_all_of_it() -> None:
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=os.environ
    )
    counts = [f"[('h264', {times}), ('swscaler', {times})]" for times in (1, 2, 3)]
    assert said.stdout.splitlines() == [*counts, "(7, 1, True)", "(0, 0, False)"]
    assert said.stderr == ""
