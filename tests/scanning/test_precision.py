"""The gate for every precision but fp32: the same verdicts and segments, scores within a tolerance.

The set: hot scenes in the middle, at the edge, at the end and for a moment, clean videos, and
pictures; judged by the default thresholds, and by thresholds that lie right at scores of the set.
`--precision auto` may take no precision that is not in here.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import av
import cv2
import pytest

from guardian_cli.detectors.clip.hardware import choose_precision
from tests.guardian_process import guardian, tiny_options, write_settings
from tests.tiny_clip import LABELS, draw_frame, write_video

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tiny_clip import TinyClip

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("tiny-clip")]

# Of a frame's fused score. The small network's few channels err more than a ViT's hundreds.
TOLERANCE = 0.05
GATED = ("bf16", "fp16")


def write_fades(path: Path) -> None:
    """A star between hardly and clearly to be seen: scores of every size."""
    star, empty = draw_frame(("red", "star")), draw_frame(None)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=4, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = star.shape[1], star.shape[0], "yuv420p"
        for number in range(4 * 24):
            share = 0.71 - 0.05 * math.cos(number / 4 * 2 * math.pi / 10.3)
            picture = cv2.addWeighted(star, share, empty, 1 - share, 0)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))


def draw_set(folder: Path) -> None:
    folder.mkdir()
    write_fades(folder / "fades.mp4")
    write_video(folder / "middle.mp4", hot=(7.0, 9.0))
    write_video(folder / "edge.mp4", hot=(3.0, 8.0), place="right-edge", seed=3)
    write_video(folder / "end.mp4", seconds=6.4, hot=(5.0, 6.4), seed=4)
    write_video(folder / "flash.mp4", hot=(4.0, 4.1), seed=5)
    write_video(folder / "clean.mp4", hot=None, seed=6)
    write_video(folder / "portrait.mp4", hot=(2.0, 5.0), size=(360, 640), seed=7)
    for number, label in enumerate(LABELS):
        cv2.imwrite(str(folder / f"picture-{number}.png"), draw_frame(label, seed=number))


def write_limits(folder: Path, tiny: TinyClip, review: float, block: float) -> None:
    category = {
        "prompts": {"positive": list(tiny.positive), "negative": list(tiny.negative)},
        "review": round(review, 6),
        "block": round(block, 6),
    }
    text = f"categories: {json.dumps({'nsfw': category, 'violence': False})}\n"
    (folder / "guardian.yaml").write_text(text, encoding="utf-8")


def scan(folder: Path, tiny: TinyClip, precision: str) -> dict[str, Any]:
    run = guardian(
        *("scan", folder / "set", "--json", "--frames", "--precision", precision),
        *tiny_options(tiny),
        folder=folder,
    )
    assert run.code in {0, 10, 11}, run.err
    return {scan["source"]: scan for scan in run.document["scans"]}


def times(scan: Any) -> list[tuple[float, float]]:
    segments = scan["categories"]["nsfw"]["segments"]
    return [(segment["start_s"], segment["end_s"]) for segment in segments]


def limits_at(scans: dict[str, Any]) -> tuple[float, float]:
    """Thresholds of which each lies a hair under a score, where half precision errs most."""
    fused = {frame["scores"]["nsfw"]["fused"] for one in scans.values() for frame in one["frames"]}
    between = sorted(score for score in fused if 0.1 <= score <= 0.75)
    assert len(between) >= 4, "the set has no score between the extremes"
    return between[len(between) // 3] - 1e-4, between[2 * len(between) // 3] - 1e-4


def test_half_precision_decides_the_same(tmp_path: Path, tiny_clip: TinyClip) -> None:
    write_settings(tmp_path, tiny_clip)
    draw_set(tmp_path / "set")
    exact = scan(tmp_path, tiny_clip, "fp32")
    compare(exact, tmp_path, tiny_clip, "fp16")
    compare(exact, tmp_path, tiny_clip, "bf16")
    write_limits(tmp_path, tiny_clip, *limits_at(exact))
    compare(scan(tmp_path, tiny_clip, "fp32"), tmp_path, tiny_clip, "bf16")


def compare(exact: dict[str, Any], folder: Path, tiny: TinyClip, precision: str) -> None:
    assert len({one["verdict"] for one in exact.values()}) >= 2
    half = scan(folder, tiny, precision)
    assert half.keys() == exact.keys()
    for source, one in exact.items():
        assert_same(one, half[source], (precision, source))


def assert_same(one: Any, other: Any, where: object) -> None:
    assert other["verdict"] == one["verdict"], where
    assert times(other) == times(one), where
    assert other["coverage"] == one["coverage"], where
    for frame, same in zip(one["frames"], other["frames"], strict=True):
        error = abs(frame["scores"]["nsfw"]["fused"] - same["scores"]["nsfw"]["fused"])
        assert error <= TOLERANCE, (where, frame["time_s"])


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("features", [set(), {"avx512_bf16"}, {"amx_bf16"}], ids=str)
def test_auto_takes_only_what_passed_the_gate(device: str, features: set[str]) -> None:
    assert choose_precision("auto", device, features) in {"fp32", *GATED}
