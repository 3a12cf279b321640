"""What the media libraries say on stdout and stderr, caught in a file and sorted.

FFmpeg's C code writes there and nowhere else; a file, unlike a pipe, can't fill up and block it.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections import Counter

_FFMPEG_LINE = re.compile(r"^\[([^\]@]+?) @ (?:0x)?[0-9a-fA-F]+\] (.*)")
# libpng and libtiff warn of odd profiles and tags; what is wrong with pixels is an error to them.
# libjpeg calls even lost pixels a warning.
_IMAGE_DAMAGE = re.compile(r"^(Corrupt JPEG|Premature end|libpng error|.*TIFF_Error)")
_MAX_BYTES = 1 << 20


class Log:
    """File descriptors 1 and 2 of this process, redirected. Counts stay until `forget`."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as we do
        # Written at the end whatever was cut off before, also through the copies of `redirect`.
        fcntl.fcntl(self._file.fileno(), fcntl.F_SETFL, os.O_APPEND | os.O_RDWR)
        self.forget()

    def redirect(self) -> None:
        """Send everything this process prints into the file, now and later."""
        for descriptor in (1, 2):
            os.dup2(self._file.fileno(), descriptor)

    def forget(self) -> None:
        """Drop what was said so far."""
        self._take()
        self.errors: Counter[str] = Counter()
        self.image_errors = 0
        self.out_of_memory = False

    def read(self) -> None:
        """Count what was said since the last call: FFmpeg's error lines by who said them."""
        for line in self._take().splitlines():
            if found := _FFMPEG_LINE.match(line):
                self.errors[found[1]] += 1
            self.image_errors += bool(_IMAGE_DAMAGE.match(line))
            self.out_of_memory = self.out_of_memory or "Cannot allocate memory" in line

    def _take(self) -> str:
        descriptor = self._file.fileno()
        size = os.fstat(descriptor).st_size
        if not size:
            return ""
        said = os.pread(descriptor, min(size, _MAX_BYTES), 0)
        os.ftruncate(descriptor, 0)
        return said.decode("utf-8", "replace")
