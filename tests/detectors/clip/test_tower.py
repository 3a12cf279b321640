from __future__ import annotations

import cv2
import numpy as np
import open_clip
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from guardian_cli.detectors.clip.tower import ImageTower, Preprocessing, cut_views, normalise
from tests.tiny_clip import draw_frame

SETTINGS = {
    "size": 224,
    "mean": open_clip.OPENAI_DATASET_MEAN,
    "std": open_clip.OPENAI_DATASET_STD,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("side", [64, 224, 336, 900])
def test_a_square_frame_is_prepared_as_open_clip_does(side: int, interpolation: str) -> None:
    settings = {**SETTINGS, "interpolation": interpolation}
    frame = draw_frame(("red", "star"), size=(side, side), seed=2)
    frame[::7] = np.random.default_rng(0).integers(0, 256, frame[::7].shape, dtype=np.uint8)
    cut, owners = cut_views([frame], Preprocessing.read(settings))
    views = normalise(cut, Preprocessing.read(settings))
    config = PreprocessCfg(**{key: settings[key] for key in settings})
    theirs = image_transform_v2(config, is_train=False)(
        Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    )
    assert owners == [0]
    assert views.shape == (1, 3, 224, 224)
    one_step = 1 / 255 / min(open_clip.OPENAI_DATASET_STD)
    difference = (views[0] - theirs).abs()
    assert difference.max() <= 2.01 * one_step
    assert difference.mean() <= 0.1 * one_step


def test_frames_of_any_size_keep_their_own_views() -> None:
    sizes = [(640, 360), (64, 64), (360, 640), (640, 360), (2, 2), (1920, 16), (1, 1)]
    frames = [np.full((h, w, 3), 10 * i, np.uint8) for i, (w, h) in enumerate(sizes)]
    cut, owners = cut_views(frames, Preprocessing.read(SETTINGS))
    views = normalise(cut, Preprocessing.read(SETTINGS))
    assert len(owners) == len(views) == 2 + 1 + 2 + 2 + 1 + 8 + 1
    mean, std = torch.tensor(SETTINGS["mean"]), torch.tensor(SETTINGS["std"])
    for view, owner in zip(views, owners, strict=True):
        grey = view.mean(dim=(1, 2)) * std + mean
        assert (grey * 255).tolist() == pytest.approx([10 * owner] * 3, abs=0.01)


def test_blue_comes_last() -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    frame[..., 0] = 255
    views, _ = cut_views([frame], Preprocessing((32, 32), (0.0,) * 3, (1.0,) * 3))
    assert views.dtype == torch.uint8
    assert views[0].float().mean(dim=(1, 2)).tolist() == [0.0, 0.0, 255.0]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_bytes_become_numbers_where_the_model_is(precision: str) -> None:
    """The same code for every device: what differs is where `.to(device)` leads."""
    seen: list[torch.Tensor] = []

    def encode(pictures: torch.Tensor) -> torch.Tensor:
        seen.append(pictures)
        return pictures.mean(dim=(2, 3))

    settings = Preprocessing.read(SETTINGS)
    cut, _ = cut_views([draw_frame(("red", "star"), size=(300, 200))] * 40, settings)
    features = ImageTower(encode, settings, "cpu", precision).features(cut)
    assert [len(part) for part in seen] == [32, 32, 16]
    assert {part.dtype for part in seen} == {
        {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    }
    assert torch.allclose(seen[0].float(), normalise(cut[:32], settings), atol=2e-2)
    assert features.dtype == torch.float32
    assert torch.allclose(features.norm(dim=1), torch.ones(80))
