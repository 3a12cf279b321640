"""Custom models behind endpoints: the arithmetic of the fusion, and what a failure changes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.guardian_process import Run, guardian, tiny_options
from tests.nsfwjs import NsfwJs
from tests.scoring_server import ScoringServer, Step, redness
from tests.tiny_clip import write_video

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]

SETTINGS = """
categories:
  nsfw: {prompts: {positive: [a red star], negative: [a blue circle, a plain background]}}
  violence: {prompts: {positive: [a red square], negative: [a blue circle, a plain background]}}
"""


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    write_video(path, seconds=6, hot=(2.0, 4.0))
    (tmp_path / "guardian.yaml").write_text(SETTINGS, encoding="utf-8")
    return path


def scan(video: Path, tiny: TinyClip, *arguments: str, **more: str) -> Run:
    options = tiny_options(tiny)
    return guardian(
        "scan", video, *options, "--json", "--frames", *arguments, folder=video.parent, **more
    )


def by_name(found: Any, name: str, category: str | None = None) -> Any:
    (one,) = [d for d in found["detectors"] if (d["name"], d["category"]) == (name, category)]
    return one


def test_both_answer(video: Path, tiny_clip: TinyClip) -> None:
    with ScoringServer(lambda image: 0.25, key="secret-key") as server:
        run = scan(
            video, tiny_clip, NSFW_MODEL_ENDPOINT=server.uri, MODEL_ENDPOINT_KEY="secret-key"
        )
    found = run.scan
    latency = by_name(found, "endpoint", "nsfw")["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"]
    assert "latency_ms" not in by_name(found, "clip")
    assert len(found["frames"]) >= 7
    for frame in found["frames"]:
        nsfw, violence = frame["scores"]["nsfw"], frame["scores"]["violence"]
        assert nsfw["custom"] == 0.25
        assert nsfw["fused"] == pytest.approx(0.7 * 0.25 + 0.3 * nsfw["clip"], abs=1e-3)
        assert violence["custom"] is None
        assert violence["fused"] == pytest.approx(0.85 * violence["clip"], abs=1e-3)
    endpoint = by_name(found, "endpoint", "nsfw")
    assert (endpoint["status"], endpoint["frames"]) == ("ok", len(found["frames"]))
    assert found["degraded"] is False
    assert f"Model endpoint nsfw: {server.uri} ok, {endpoint['frames']} frames, p50" in run.err
    assert "secret-key" not in run.out + run.err
    assert all(min(image.shape[:2]) <= 336 for got in server.requests for image in got.images)


def test_zero_is_an_answer(video: Path, tiny_clip: TinyClip) -> None:
    with ScoringServer(lambda image: 0.0) as server:
        found = scan(video, tiny_clip, NSFW_MODEL_ENDPOINT=server.uri).scan
    for frame in found["frames"]:
        nsfw = frame["scores"]["nsfw"]
        assert nsfw["custom"] == 0.0
        assert nsfw["fused"] == pytest.approx(0.3 * nsfw["clip"], abs=1e-3)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Step(401), "401"),
        (Step(404), "404"),
        (Step(424), "424"),
        (Step(500), "500"),
        (Step(body=b"<html>"), "JSON"),
        (Step(body=b"[0.1, 2.0]"), ""),
        (Step(body=b"[NaN]"), ""),
    ],
)
def test_a_failing_endpoint_changes_its_category_only(
    video: Path, tiny_clip: TinyClip, step: Step, said: str
) -> None:
    with ScoringServer(usual=step) as bad, ScoringServer(lambda image: 0.75) as good:
        run = scan(video, tiny_clip, NSFW_MODEL_ENDPOINT=bad.uri, VIOLENCE_MODEL_ENDPOINT=good.uri)
    found = run.scan
    assert found["degraded"] is True
    assert by_name(found, "endpoint", "nsfw")["status"] == "degraded"
    assert said in by_name(found, "endpoint", "nsfw")["reason"]
    assert by_name(found, "endpoint", "violence")["status"] == "ok"
    for frame in found["frames"]:
        nsfw, violence = frame["scores"]["nsfw"], frame["scores"]["violence"]
        assert nsfw["custom"] is None
        assert nsfw["fused"] == pytest.approx(0.85 * nsfw["clip"], abs=1e-3)
        assert violence["fused"] == pytest.approx(0.7 * 0.75 + 0.3 * violence["clip"], abs=1e-3)
    assert "Model endpoint nsfw" in run.err
    misconfigured = step.status in (401, 404)
    assert any(one.startswith("misconfigured: nsfw") for one in found["reasons"]) == misconfigured
    assert ("hint: set NSFW_MODEL_ENDPOINT" in run.err) == misconfigured


def test_a_wrong_key_is_loud_and_never_an_allow(tmp_path: Path, tiny_clip: TinyClip) -> None:
    write_video(tmp_path / "video.mp4", seconds=2, hot=(5.0, 6.0))
    (tmp_path / "guardian.yaml").write_text(SETTINGS, encoding="utf-8")
    with ScoringServer(key="right") as server:
        environment = {"NSFW_MODEL_ENDPOINT": server.uri, "MODEL_ENDPOINT_KEY": "wrong"}
        run = scan(tmp_path / "video.mp4", tiny_clip, "--quiet", **environment)
    assert (run.code, run.scan["verdict"], run.scan["degraded"]) == (10, "review", True)
    assert by_name(run.scan, "endpoint", "nsfw")["status"] == "degraded"
    hint = "set NSFW_MODEL_ENDPOINT_KEY or MODEL_ENDPOINT_KEY to the key of this endpoint"
    assert run.scan["reasons"] == [
        f"misconfigured: nsfw endpoint: 401 Unauthorized (wrong key?): {hint}"
    ]
    warning, said = run.err.splitlines()
    assert warning.startswith(f"warning: Model endpoint nsfw: {server.uri} failed: 401")
    assert said == f"hint: {hint}"


def test_two_scans_by_one_deployment_are_the_same(video: Path, tiny_clip: TinyClip) -> None:
    """And where traffic is split, each of the two scans has one of the two results."""
    deployments = {"version-1": lambda image: 0.1, "version-2": redness}
    with ScoringServer(deployments=deployments) as server:
        environment = {"NSFW_MODEL_ENDPOINT": server.uri}
        dealt = [scan(video, tiny_clip, **environment).scan for _ in range(2)]
        requests = len(server.requests)
        chosen = scan(video, tiny_clip, "--deployment", "version-2", **environment).scan
    frames = len(chosen["frames"])
    assert [by_name(one, "endpoint", "nsfw")["deployments"] for one in (*dealt, chosen)] == [
        {"version-1": frames},
        {"version-2": frames},
        {"version-2": frames},
    ]
    assert {frame["scores"]["nsfw"]["custom"] for frame in dealt[0]["frames"]} == {0.1}
    assert dealt[1]["frames"] == chosen["frames"]
    assert dealt[1]["categories"] == chosen["categories"]
    assert requests <= frames, "two scans, and at most half as many requests as frames"


def test_a_deployment_of_no_endpoint_is_a_usage_error(video: Path, tiny_clip: TinyClip) -> None:
    for name in ("version-2", "no name"):
        run = scan(video, tiny_clip, "--deployment", name)
        assert (run.code, run.out) == (2, "")
        assert run.err.startswith(f"error: --deployment {name}: ")


def test_an_endpoint_that_refuses_or_hangs_costs_little(video: Path, tiny_clip: TinyClip) -> None:
    with ScoringServer() as server:
        gone = server.uri
    started_s = time.monotonic()
    found = scan(video, tiny_clip, NSFW_MODEL_ENDPOINT=gone).scan
    assert found["degraded"] is True
    with ScoringServer(usual=Step(hang=True)) as server:
        found = scan(video, tiny_clip, NSFW_MODEL_ENDPOINT=server.uri).scan
        assert found["degraded"] is True
        assert found["categories"]["nsfw"]["score"] is not None
    assert time.monotonic() - started_s < 90


def test_policy_can_raise_a_degraded_scan(video: Path, tiny_clip: TinyClip) -> None:
    settings = video.parent / "guardian.yaml"
    settings.write_text(SETTINGS + "policy: {degraded: block}\n", encoding="utf-8")
    with ScoringServer(usual=Step(401)) as server:
        run = scan(video, tiny_clip, NSFW_MODEL_ENDPOINT=server.uri)
    assert run.code == 11
    assert run.scan["verdict"] == "block"


@pytest.mark.parametrize("switch", ["--no-endpoints", "--offline"])
def test_switched_off_is_not_degraded(video: Path, tiny_clip: TinyClip, switch: str) -> None:
    with ScoringServer() as server:
        found = scan(video, tiny_clip, switch, NSFW_MODEL_ENDPOINT=server.uri).scan
        assert server.requests == []
    assert by_name(found, "endpoint", "nsfw")["status"] == "off"
    assert by_name(found, "endpoint", "nsfw")["frames"] == 0
    assert found["degraded"] is False


def test_the_key_is_not_sent_to_a_redirect(video: Path, tiny_clip: TinyClip) -> None:
    with ScoringServer() as other:
        step = Step(307, headers={"Location": other.uri})
        with ScoringServer(usual=step) as server:
            found = scan(
                video, tiny_clip, NSFW_MODEL_ENDPOINT=server.uri, MODEL_ENDPOINT_KEY="secret-key"
            ).scan
        assert other.requests == []
    assert found["degraded"] is True


def test_a_real_classifier_gives_its_golden_value(
    tmp_path: Path, tiny_clip: TinyClip, shared_data: Path
) -> None:
    folder = shared_data / "models" / "nsfwjs"
    model = NsfwJs(folder / "nsfwjs_mobilenet_v2.onnx")
    (tmp_path / "guardian.yaml").write_text(SETTINGS, encoding="utf-8")
    # Porn + Hentai of the golden picture; its Drawing is on a knife's edge that JPEG alone tips.
    with ScoringServer(model.unsafe) as server:
        run = guardian(
            "scan",
            folder / "nsfwjs_logo.jpg",
            *tiny_options(tiny_clip),
            "--json",
            "--frames",
            folder=tmp_path,
            NSFW_MODEL_ENDPOINT=server.uri,
        )
        (request,) = server.requests
    (frame,) = run.scan["frames"]
    assert frame["scores"]["nsfw"]["custom"] == pytest.approx(0.0022, abs=0.0005)
    (sent,) = request.images
    assert frame["scores"]["nsfw"]["custom"] == pytest.approx(model.unsafe(sent), abs=1e-5)
    assert model.drawing(sent) > 0.4
