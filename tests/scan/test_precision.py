"""The gate for every precision but fp32: the same verdicts and segments, scores within a tolerance.

The self-check set: hot scenes in the middle, at the edge, at the end and for a moment, clean
videos, and pictures. `--precision auto` may take no precision that is not in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def draw_set(folder: Path) -> None:
    folder.mkdir()
    write_video(folder / "middle.mp4", hot=(7.0, 9.0))
    write_video(folder / "edge.mp4", hot=(3.0, 8.0), place="right-edge", seed=3)
    write_video(folder / "end.mp4", seconds=6.4, hot=(5.0, 6.4), seed=4)
    write_video(folder / "flash.mp4", hot=(4.0, 4.1), seed=5)
    write_video(folder / "clean.mp4", hot=None, seed=6)
    write_video(folder / "portrait.mp4", hot=(2.0, 5.0), size=(360, 640), seed=7)
    for number, label in enumerate(LABELS):
        cv2.imwrite(str(folder / f"picture-{number}.png"), draw_frame(label, seed=number))


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


def test_half_precision_decides_the_same(tmp_path: Path, tiny_clip: TinyClip) -> None:
    write_settings(tmp_path, tiny_clip)
    draw_set(tmp_path / "set")
    exact = scan(tmp_path, tiny_clip, "fp32")
    assert {one["verdict"] for one in exact.values()} >= {"allow", "block"}
    for precision in GATED:
        half = scan(tmp_path, tiny_clip, precision)
        assert half.keys() == exact.keys()
        for source, one in exact.items():
            other = half[source]
            assert other["verdict"] == one["verdict"], (precision, source)
            assert times(other) == times(one), (precision, source)
            assert other["coverage"] == one["coverage"]
            for frame, same in zip(one["frames"], other["frames"], strict=True):
                error = abs(frame["scores"]["nsfw"]["fused"] - same["scores"]["nsfw"]["fused"])
                assert error <= TOLERANCE, (precision, source, frame["time_s"])


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
@pytest.mark.parametrize("features", [set(), {"avx512_bf16"}, {"amx_bf16"}], ids=str)
def test_auto_takes_only_what_passed_the_gate(device: str, features: set[str]) -> None:
    assert choose_precision("auto", device, features) in {"fp32", *GATED}
