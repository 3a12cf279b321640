"""The executable's way in; `python -m guardian_cli` is the same as `guardian`."""

import os
import resource
import signal

# With fewer processes and threads than this allowed to a user, libraries start one thread each.
FEW_PROCESSES = 256


def main() -> None:
    """Run guardian; Ctrl-C is quiet from the first moment on."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # While libraries are loaded there is nothing yet to clean up.
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    prepare_environment()
    from guardian_cli.cli import main as run

    run()


def prepare_environment() -> None:
    """Set what libraries and child processes read where this user lacks a home, or threads."""
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - pathlib raises instead of telling
        # A container's unknown user. MLflow ends with a traceback then, and the hub's client makes
        # a folder called ~; / is what Docker itself says in such a case.
        os.environ["HOME"] = "/"
    allowed, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if allowed != resource.RLIM_INFINITY and allowed < FEW_PROCESSES:
        # Refused a thread, OpenBLAS sends SIGINT to its own process: that would read as Ctrl-C.
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


if __name__ == "__main__":
    main()
