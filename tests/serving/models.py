"""Models that tests can compute in their head: a logit that is linear in the brightness."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from guardian_cli.serving.format import ModelCard, save_model
from guardian_cli.serving.packaging import write_mlflow_model

if TYPE_CHECKING:
    from pathlib import Path

CARD = ModelCard(
    "nsfw-detector", "nsfw", "tiny", {"width": 4}, input_px=32, mean=(0, 0, 0), std=(1, 1, 1)
)


def save_constant_model(folder: Path, logit: float = 0.0, card: ModelCard = CARD) -> None:
    """A tiny network whose logit is always the same: every frame scores sigmoid(logit)."""
    import torch

    from guardian_cli.serving.networks import build_network

    network = build_network(card)
    head = network.head
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.fill_(logit)
    save_model(folder, card, network)


def write_constant_model(folder: Path, logit: float = 0.0) -> Path:
    """The same in MLflow's format; returns the folder."""
    artifact = folder.with_name(folder.name + "-artifact") / "model"
    save_constant_model(artifact, logit)
    write_mlflow_model(artifact, folder)
    return folder


def draw_jpeg(level: int = 128, size: tuple[int, int] = (64, 36)) -> bytes:
    """A grey JPEG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, (level, level, level)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()
