"""The executable's way in; `python -m guardian_cli` is the same as `guardian`."""

import os
import signal


def main() -> None:
    """Run guardian; Ctrl-C is quiet from the first moment on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # While libraries are loaded there is nothing yet to clean up.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    from guardian_cli.cli import main as run

    run()


if __name__ == "__main__":
    main()
