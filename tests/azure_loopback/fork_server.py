"""A process of its own that runs scoring scripts: started once, forked for each deployment.

It imports what takes long (torch) and nothing of guardian, so that a fork takes its code from the
uploaded folder only. Run as a script. A line of JSON on stdin orders a fork; the fork calls back
on a socket, says on which port it listens, and ends itself when that socket closes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import signal
import socket
import sys
import threading
import time
import types
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

logger = logging.getLogger("azmlinfsrv")
HEAVY = ("numpy", "PIL.Image", "safetensors.torch", "torch")


class AMLResponse:
    """What a script answers with when it wants to say more than a body."""

    def __init__(
        self,
        message: Any,
        status_code: int,
        response_headers: Any = None,
        json_str: bool = False,
        **_: Any,
    ) -> None:
        self.status_code = status_code
        self.headers = dict(response_headers or {})
        self.body = json.dumps(message).encode() if json_str else _to_bytes(message)


def _to_bytes(message: Any) -> bytes:
    return message if isinstance(message, bytes) else str(message).encode()


def provide_server_package() -> None:
    """Stand in for the part of azureml_inference_server_http that scripts import."""
    for name in ("azureml_inference_server_http", "azureml_inference_server_http.api"):
        sys.modules[name] = types.ModuleType(name)
    leaf = types.ModuleType("azureml_inference_server_http.api.aml_response")
    leaf.AMLResponse = AMLResponse  # type: ignore[attr-defined]
    sys.modules[leaf.__name__] = leaf


def hide_product() -> None:
    """Whatever is installed here of the product must not help: a script brings its own code."""
    sys.path[:] = [one for one in sys.path if not (Path(one) / "guardian_cli").is_dir()]


def load_script(script: Path) -> Any:
    """Import a scoring script from its file."""
    sys.path.insert(0, str(script.parent))
    spec = importlib.util.spec_from_file_location("entry_script", script)
    if spec is None or spec.loader is None:
        raise ImportError(script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Handler(BaseHTTPRequestHandler):
    """POST /score calls run(); a script that raises is a 500, as in the real server."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    module: Any = None
    turn = threading.Lock()

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        began = time.perf_counter()
        try:
            with self.turn:
                result = self.module.run(raw)
            failed = "False"
        except Exception as error:  # the edge of the container: a script may raise anything
            logger.exception("run() failed")
            result, failed = AMLResponse(str(error), 500), "True"
        if not isinstance(result, AMLResponse):
            result = AMLResponse(result, 200, json_str=True)
        self.send_response(result.status_code)
        spent = f"{(time.perf_counter() - began) * 1000:.3f}"
        headers = {"x-ms-run-function-failed": failed, "x-ms-run-fn-exec-ms": spent}
        for name, value in {
            "Content-Type": "application/json",
            **headers,
            **result.headers,
        }.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(result.body)))
        self.end_headers()
        self.wfile.write(result.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        print(format % args, flush=True)


def run_deployment(order: dict[str, Any]) -> None:
    """In the fork: load the script, call init(), serve until the caller goes away."""
    os.setsid()
    with Path(order["log"]).open("ab", buffering=0) as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    os.environ.update(order["environment"])
    os.chdir(Path(order["script"]).parent)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s I [%(process)d] %(name)s - %(message)s"
    )
    print(f"Initializing the entry script {order['script']}", flush=True)
    caller = socket.create_connection(("127.0.0.1", order["caller"]))
    threading.Thread(target=_end_with, args=(caller,), daemon=True).start()
    hide_product()
    module = load_script(Path(order["script"]))
    module.init()
    Handler.module = module
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    caller.sendall(
        json.dumps({"port": server.server_address[1], "id": order["id"]}).encode() + b"\n"
    )
    server.serve_forever()


def _end_with(caller: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while caller.recv(1):
            pass
    os._exit(0)


def fork(order: dict[str, Any]) -> None:
    """Start one deployment."""
    if os.fork():
        return
    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.close(0)
        run_deployment(order)
        code = 0
    except BaseException:  # the fork must never go back into the loop of its parent
        logger.exception("the container ended")
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def main() -> None:
    """Import, then fork for every line on stdin."""
    provide_server_package()
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    if "torch" in sys.modules:
        # A pool of threads does not survive a fork.
        sys.modules["torch"].set_num_threads(1)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        fork(json.loads(line))


if __name__ == "__main__":
    main()
