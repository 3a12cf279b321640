"""`python -m guardian_cli.lifecycle.local.daemon FOLDER FD`: leave the terminal, then serve.

The first process forks and ends at once, so that whoever started it has no child to wait for;
the second leads a session of its own, which no closing terminal reaches. FD is a pipe that hears
"ready" or the reason why not.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(folder: Path, descriptor: int) -> int:
    """Serve in a process of its own; return only in it, when the server has stopped."""
    if os.fork():
        os._exit(0)
    os.setsid()
    os.umask(0o077)
    # Only now: the starter waits for the first process, which should not import anything.
    from guardian_cli.lifecycle.local.server import Tell, serve  # noqa: PLC0415 - see above

    return serve(folder, Tell(descriptor))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
