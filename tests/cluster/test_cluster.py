"""Two nodes on this machine: whatever is killed, every source ends with exactly one result."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from guardian_cli.cluster.actor import Loaded, SourceOutcome
from guardian_cli.cluster.session import MAX_ATTEMPTS, ClusterSession
from guardian_cli.console import Console
from guardian_cli.errors import GuardianError, MissingError
from guardian_cli.media.sources import Source
from guardian_cli.scanning.pipeline import ScanRequest, WorkerThreads
from guardian_cli.scanning.session import SessionHooks
from guardian_cli.settings import calm_ray, load_settings
from tests.conftest import REPOSITORY
from tests.guardian_process import COMMAND, environment, guardian, tiny_options, write_settings
from tests.reports.samples import image
from tests.tiny_clip import write_video

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.tiny_clip import TinyClip

pytestmark = pytest.mark.slow

calm_ray()
pytest.importorskip("ray")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    options = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=options)
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    cluster.shutdown()


def actors_below(pid: int) -> list[int]:
    """The processes of actors that a process, or one below it, has started."""
    below = psutil.Process(pid).children(recursive=True)
    return [one.pid for one in below if "ScanActor" in "".join(one.cmdline())]


def comparable(line: dict[str, Any]) -> dict[str, Any]:
    made = {name: value for name, value in line["made"].items() if name != "when"}
    return {**line, "made": made, "timing": None}


@pytest.mark.skipif("GUARDIAN_RAY" not in os.environ, reason="takes 40 s: GUARDIAN_RAY=1 runs it")
def test_a_killed_actor_changes_no_result_and_nothing_is_left(
    tiny_clip: TinyClip, tmp_path: Path
) -> None:
    write_settings(tmp_path, tiny_clip)
    (tmp_path / "in").mkdir()
    for number in range(8):
        hot = (0.5, 1.5) if number % 5 == 0 else None
        write_video(tmp_path / "in" / f"{number}.mp4", seconds=2, hot=hot, size=(64, 48))
    arguments = ["scan", "in", "gone.mp4", "--jsonl", *tiny_options(tiny_clip)]
    plain = guardian(*arguments, folder=tmp_path)
    done, temporary = tmp_path / "done.jsonl", tmp_path / "t"
    temporary.mkdir()
    run = subprocess.Popen(
        [*COMMAND, *arguments, "--cluster", "ray", "--resume", done.name],
        cwd=tmp_path,
        env=environment(tmp_path, TMPDIR=str(temporary)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while run.poll() is None and (not done.exists() or done.read_bytes().count(b"\n") < 2):
        time.sleep(0.02)
    assert run.poll() is None, run.communicate()
    started = psutil.Process(run.pid).children(recursive=True)
    for pid in actors_below(run.pid):
        os.kill(pid, signal.SIGKILL)
    out, err = run.communicate(timeout=120)
    lines = [json.loads(line) for line in out.splitlines()]
    assert run.returncode == plain.code == 11, err
    assert "raylet" not in err
    assert sorted(line["source"] for line in lines) == sorted(x["source"] for x in plain.lines)
    expected = {line["source"]: comparable(line) for line in plain.lines}
    assert {line["source"]: comparable(line) for line in lines} == expected
    assert list(temporary.iterdir()) == []
    assert not [one for one in psutil.wait_procs(started, 10)[1] if "Actor" in one.name()]


class FakeActor:
    """Answers at once; a source called poison kills its process, and one called sick the run."""

    def __init__(self, request: ScanRequest, *_: Any) -> None:
        self._log = str(request.deployment)

    def greet(self) -> int:
        return os.getpid()

    def load(self) -> Loaded | GuardianError:
        if self._log == "None":
            return MissingError("no weights", hint="get some")
        return Loaded([("a warning", None)], {})

    def scan(self, source: Source, held: Any) -> SourceOutcome:
        with Path(self._log).open("a", encoding="utf-8") as log:
            log.write(f"{source.shown}\n")
        if source.shown == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return SourceOutcome(image(source.shown))

    def fail(self, source: Source, message: str, kind: str) -> SourceOutcome:
        result = replace(image(source.shown), verdict="error", reasons=(kind,))
        return SourceOutcome(result)

    def state(self) -> tuple[int, float]:
        return 1, 0.5

    def summaries(self) -> list[Any]:
        return []

    def close(self) -> None:
        """Nothing is held."""


def session(sources: Sequence[Source], log: str | None) -> ClusterSession:
    console = Console(quiet=True)
    request = ScanRequest((), cluster="ray", deployment=log)
    settings = load_settings(environ={})
    hooks = SessionHooks(lambda *_: False, lambda _: None, lambda _: ())
    return ClusterSession(request, settings, console, sources, hooks, FakeActor)


def test_one_source_one_result_whatever_dies(cluster: Any, tmp_path: Path) -> None:
    names = [*(f"clip{number}" for number in range(60)), "poison", "last"]
    sources = [Source("file", name, name) for name in names]
    log = tmp_path / "log"
    results = []
    head, other = cluster.head_node, cluster.worker_nodes.copy().pop()
    with closing(session(sources, str(log))) as one:
        threads = WorkerThreads(sources, one.scan, one.slots)
        threads.start()
        one.load()
        for result in threads.results():
            results.append(result)
            if len(results) == 5:
                for pid in actors_below(head.all_processes["raylet"][0].process.pid):
                    os.kill(pid, signal.SIGKILL)
            if len(results) == 15:
                cluster.remove_node(other, allow_graceful=False)
        threads.join(5)
    assert one.warnings == [("a warning", None)]
    assert sorted(result.source for result in results) == sorted(names)
    lost = [(one.source, one.reasons) for one in results if one.verdict == "error"]
    assert lost == [("poison", ("lost",))]
    assert 1 <= log.read_text().split().count("poison") <= MAX_ATTEMPTS
    with closing(session(sources, None)) as other, pytest.raises(MissingError) as caught:
        other.load()
    assert caught.value.hint == "get some"
    assert not [thread for thread in threading.enumerate() if thread.name == "cluster"]
