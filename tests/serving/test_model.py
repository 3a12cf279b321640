from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from guardian_cli.serving.images import BadFrameError
from guardian_cli.serving.model import FrameScorer, ModelFaultError, load_model
from tests.serving.models import CARD, draw_jpeg, save_constant_model

if TYPE_CHECKING:
    from pathlib import Path


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def test_the_score_is_the_calibrated_logit(tmp_path: Path) -> None:
    save_constant_model(tmp_path, 3.0, replace(CARD, temperature=2.0, bias=-0.5))
    scores = load_model(tmp_path).score([draw_jpeg()])
    assert scores == pytest.approx([sigmoid(3.0 / 2.0 - 0.5)], abs=1e-6)


def test_the_threshold_of_training_is_served_as_one_half(tmp_path: Path) -> None:
    threshold, over = sigmoid(1.3), sigmoid(2.0)
    for logit, expected in (
        (0.4, 0.5 * sigmoid(0.4) / threshold),
        (1.3, 0.5),
        (2.0, 0.5 + 0.5 * (over - threshold) / (1 - threshold)),
    ):
        folder = tmp_path / str(logit)
        save_constant_model(folder, logit, replace(CARD, threshold=threshold))
        assert load_model(folder).score([draw_jpeg()]) == pytest.approx([expected], abs=1e-6)


def test_frames_keep_their_order_and_do_not_see_each_other(tmp_path: Path) -> None:
    import torch

    from guardian_cli.serving.networks import build_network

    torch.manual_seed(1)
    scorer = FrameScorer(CARD, build_network(CARD))
    frames = [draw_jpeg(level) for level in range(0, 250, 3)]
    together = scorer.score(frames)
    assert len(together) == len(frames)
    alone = [scorer.score([one])[0] for one in frames[::20]]
    assert together[::20] == pytest.approx(alone, abs=1e-5)
    assert len(set(together)) > len(frames) // 2
    assert scorer.score([]) == []


def test_the_largest_view_of_a_frame_counts() -> None:
    import numpy as np
    import torch

    class Mean(torch.nn.Module):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return pictures.mean(dim=(1, 2, 3))

    views = [np.full((2, 3, 8, 8), 1.0, np.float32), np.full((1, 3, 8, 8), 0.5, np.float32)]
    views[0][0] = -4.0
    scores = FrameScorer(CARD, Mean()).score_views(views)
    assert scores == pytest.approx([sigmoid(1.0), sigmoid(0.5)], abs=1e-6)


def test_a_bad_frame_is_named_and_a_nan_is_no_score(tmp_path: Path) -> None:
    save_constant_model(tmp_path, float("nan"))
    scorer = load_model(tmp_path)
    with pytest.raises(BadFrameError, match="frame 1"):
        scorer.score([draw_jpeg(), b"nothing"])
    with pytest.raises(ModelFaultError):
        scorer.score([draw_jpeg()])
