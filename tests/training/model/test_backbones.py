"""Backbones: what was trained is what is served, and features are computed once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
import torch

from guardian_cli.serving.format import CLIP_MEAN, CLIP_STD, save_model
from guardian_cli.serving.model import load_model
from guardian_cli.serving.networks import build_tower
from guardian_cli.training.data.dataset import Sample
from guardian_cli.training.data.frame_store import FileContent, FileFacts, store_frames
from guardian_cli.training.model.backbones import FEATURES_NAME, ClipBackbone, TinyBackbone, Tower
from guardian_cli.training.model.trainer import TrainSettings, predict

if TYPE_CHECKING:
    from guardian_cli.training.data.frame_store import FrameStore
    from guardian_cli.training.model.backbones import Backbone

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
}


def small_tower() -> Tower:
    torch.manual_seed(0)
    tower = build_tower(CONFIG).eval()
    return Tower(tower, CONFIG, 32, CLIP_MEAN, CLIP_STD, "small/random")


def picture(number: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    coarse = np.random.default_rng(number).integers(0, 256, (5, 8, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (120, 80), interpolation=cv2.INTER_CUBIC), np.uint8)


def read(sample: Sample, count: int) -> FileContent:
    number = int(sample.path.name)
    return FileContent([picture(number)] * (1 + number % 2), FileFacts(120, 80, 9), str(number))


def store_of(folder: Path, px: int, views: str = "squash") -> FrameStore:
    samples = [Sample(Path(str(number)), "x", str(number)) for number in range(40)]
    return store_frames(
        folder,
        samples,
        read,
        px=px,
        frames=4,
        views=views,
        workers=1,
        on_progress=lambda done, total: None,
    )[0]


@pytest.mark.parametrize(
    "backbone", [TinyBackbone(px=32, width=4), ClipBackbone(small_tower(), hidden=8)]
)
def test_the_saved_model_scores_jpegs_as_the_trained_one_did(
    tmp_path: Path, backbone: Backbone
) -> None:
    store = store_of(tmp_path, backbone.px, backbone.views)
    bags = backbone.prepare(store, [True] * 40, tmp_path, lambda done, total: None)
    torch.manual_seed(1)
    network = backbone.build(temporal=True).eval()
    settings = TrainSettings(1, 1, 0.1, bags=8, frames=4, seed=0)
    logits, _ = predict(network, bags, range(12), settings)
    save_model(tmp_path / "saved", backbone.card("m", "nsfw"), backbone.export(network))
    scorer = load_model(tmp_path / "saved")
    jpegs = [
        cv2.imencode(".jpg", picture(number), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
        for number in range(12)
    ]
    np.testing.assert_allclose(scorer.score(jpegs), 1 / (1 + np.exp(-logits)), atol=0.02)


def test_features_are_computed_once_and_go_on_after_a_kill(tmp_path: Path) -> None:
    backbone = ClipBackbone(small_tower())
    store = store_of(tmp_path, backbone.px)
    told: list[int] = []
    whole = np.array(
        backbone.prepare(store, [True] * 40, tmp_path, lambda done, _: told.append(done)).inputs
    )
    assert told == [32, 60]
    assert np.linalg.norm(whole, axis=1) == pytest.approx(1.0, abs=1e-5)
    data = (tmp_path / FEATURES_NAME).read_bytes()
    (tmp_path / FEATURES_NAME).write_bytes(data[: len(data) // 2 + 7])
    told.clear()
    again = backbone.prepare(store, [True] * 40, tmp_path, lambda done, _: told.append(done))
    assert np.abs(np.array(again.inputs, float) - np.array(whole, float)).max() < 1e-6
    assert told == [60]
    told.clear()
    backbone.prepare(store, [True] * 40, tmp_path, lambda done, _: told.append(done))
    assert told == []


def test_a_card_is_json(tmp_path: Path) -> None:
    card = ClipBackbone(small_tower(), hidden=8).card("m", "nsfw")
    assert json.loads(json.dumps(card.options)) == card.options
