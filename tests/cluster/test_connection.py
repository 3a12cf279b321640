"""Where actors go, and addresses of clusters that are none."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardian_cli.cluster.connection import MAX_CORES, Connection, answers, plan_actors
from guardian_cli.errors import PlatformError, UsageError
from tests.web_server import send, serving


@given(st.integers(0, 300), st.integers(0, 16), st.booleans())
def test_actors_use_a_node_and_no_more(cores: int, devices: int, gpus: bool) -> None:
    places = plan_actors("n", {"CPU": float(cores), "GPU": float(devices)}, gpus=gpus)
    assert sum(place.cores for place in places) <= cores
    assert all(place.cores >= 1 for place in places)
    if gpus and devices:
        assert len(places) == min(devices, cores)
        assert all(place.gpus == 1 for place in places)
    else:
        assert all(place.gpus == 0 and place.cores <= MAX_CORES for place in places)
        assert bool(places) == bool(cores)


@pytest.mark.parametrize(
    "address",
    ["", "dask", "ray:", "ray://", "ray://host", "ray://me:secret@host:1", "http://host:1"],
)
def test_what_is_no_address_of_a_cluster(address: str) -> None:
    with pytest.raises(UsageError, match="neither ray nor ray://HOST:PORT") as refused:
        Connection(address)
    assert "secret" not in str(refused.value)


def test_who_answers() -> None:
    grpc = pytest.importorskip("grpc")
    head = grpc.server(ThreadPoolExecutor(1))
    port = head.add_insecure_port("127.0.0.1:0")
    head.start()
    assert answers(f"ray://127.0.0.1:{port}")
    assert answers(f"127.0.0.1:{port}")
    head.stop(None).wait()
    assert not answers(f"127.0.0.1:{port}")
    assert not answers("nonsense")
    with serving(lambda page: send(page, 200, b"")) as web:
        # Ray would ask it for a quarter of an hour.
        assert not answers(f"127.0.0.1:{web.port}")


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(PlatformError, match="nobody answers"):
        Connection("ray")
    with pytest.raises(PlatformError, match=r"ray://127\.0\.0\.1:9 can't be joined"):
        Connection("ray://127.0.0.1:9")
