"""The one piece of code that scores: JPEG frames in, a score for each out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guardian_cli.serving.format import (
    CARD_NAME,
    WEIGHTS_NAME,
    FormatError,
    ModelCard,
    find_artifact,
    read_card,
)
from guardian_cli.serving.images import BadFrameError, decode_jpeg, prepare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

BATCH_VIEWS = 64


class ModelFaultError(RuntimeError):
    """The network ran and gave something that is no score."""


class FrameScorer:
    """A loaded model; may be called from several threads at once."""

    def __init__(self, card: ModelCard, network: torch.nn.Module) -> None:
        self.card = card
        self._network = network.eval()

    def score(self, jpegs: Sequence[bytes]) -> list[float]:
        """Score JPEG frames, each by itself: one number in 0..1 a frame, in their order.

        Raises BadFrameError, which names the frame, and ModelFaultError.
        """
        views, counts = [], []
        for number, data in enumerate(jpegs):
            try:
                prepared = prepare(decode_jpeg(data), self.card)
            except BadFrameError as error:
                raise BadFrameError(f"frame {number}: {error}") from error
            views.append(prepared)
            counts.append(len(prepared))
        return self.score_prepared(views, counts)

    def score_prepared(
        self, views: Sequence[NDArray[np.float32]], counts: Sequence[int]
    ) -> list[float]:
        """Score what `images.prepare` made: `counts[i]` views belong to frame i."""
        if not views:
            return []
        import numpy as np

        logits = self._logits(np.concatenate(views))
        if not np.isfinite(logits).all():
            raise ModelFaultError("the network gave NaN or infinity")
        scaled = np.clip(logits / self.card.temperature + self.card.bias, -60.0, 60.0)
        probabilities = 1.0 / (1.0 + np.exp(-scaled))
        ends = np.cumsum(counts)
        starts = ends - np.asarray(counts)
        return [
            self.card.to_score(float(probabilities[start:end].max()))
            for start, end in zip(starts, ends, strict=True)
        ]

    def _logits(self, views: NDArray[np.float32]) -> NDArray[np.float64]:
        import numpy as np
        import torch

        parts = []
        with torch.inference_mode():
            for start in range(0, len(views), BATCH_VIEWS):
                batch = torch.from_numpy(views[start : start + BATCH_VIEWS])
                parts.append(self._network(batch).double().numpy())
        return np.concatenate(parts)


def load_model(folder: Path) -> FrameScorer:
    """Load the artifact at or under a folder. Raises FormatError, which says what is wrong."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = find_artifact(folder)
    card = read_card(folder)
    try:
        tensors = load_file(folder / WEIGHTS_NAME)
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{folder / WEIGHTS_NAME}: cannot be read: {error}") from error
    try:
        network = fill_network(card, tensors)
    except RuntimeError as error:
        lines = " ".join(str(error).split())
        raise FormatError(f"{folder / CARD_NAME} does not fit its weights: {lines}") from error
    return FrameScorer(card, network)


def fill_network(card: ModelCard, tensors: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """Build a card's network with these tensors in it. Raises RuntimeError where they don't fit."""
    import torch

    from guardian_cli.serving.networks import build_network

    # Without storage first: drawing random weights for a CLIP tower takes longer than all the rest.
    with torch.device("meta"):
        network = build_network(card)
    network.load_state_dict(tensors, assign=True)
    if any(one.is_meta for one in (*network.parameters(), *network.buffers())):
        # A tensor that is made, not saved: it has to be made in earnest.
        network = build_network(card)
        network.load_state_dict(tensors)
    return network.float()
