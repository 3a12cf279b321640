"""A process without a network, whose every attempt to use one is written down.

    unshare --map-root-user --net --mount python -m tests.watched_network LOG COMMAND…

In here there is only loopback, and the resolver is ours: each name that anything asks for, Python
or not, stands in LOG, one a line, and does not exist. Ends with the command's exit code.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
NO_SUCH_NAME = 0x8183


def bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def put_resolver_in_place(folder: Path) -> None:
    for name, text in (
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"),
        ("nsswitch.conf", "hosts: files dns\n"),
    ):
        ours = folder / name
        ours.write_text(text, encoding="ascii")
        if (place := Path("/etc") / name).exists():
            subprocess.run(["mount", "--bind", ours, place.resolve()], check=True)


def answer(server: socket.socket, log: Path) -> None:
    while True:
        query, asker = server.recvfrom(4096)
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1 : at + 1 + query[at]].decode("ascii", "replace"))
            at += 1 + query[at]
        with log.open("a", encoding="utf-8") as file:
            file.write(".".join(labels) + "\n")
        head = query[:2] + struct.pack(">HHHHH", NO_SUCH_NAME, 1, 0, 0, 0)
        server.sendto(head + query[12 : at + 5], asker)


def main(log: Path, command: list[str]) -> int:
    bring_loopback_up()
    put_resolver_in_place(log.parent)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 53))
        threading.Thread(target=answer, args=(server, log), daemon=True).start()
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
