"""The one piece of code that scores: JPEG frames in, a score for each out."""

from __future__ import annotations

import math
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guardian_cli.serving.format import (
    CARD_NAME,
    WEIGHTS_NAME,
    FormatError,
    ModelCard,
    find_artifact,
    read_card,
)
from guardian_cli.serving.images import BadFrameError, decode_jpeg, prepare
from guardian_cli.serving.protocol import decode_cell

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray


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
        views = []
        for number, data in enumerate(jpegs):
            try:
                views.append(prepare(decode_jpeg(data), self.card))
            except BadFrameError as error:
                raise BadFrameError(f"frame {number}: {error}") from error
        return self.score_views(views)

    def score_views(self, views: Sequence[NDArray[np.float32]]) -> list[float]:
        """Score what `images.prepare` made of each frame; the largest of a frame's views counts.

        Raises ModelFaultError.
        """
        if not views:
            return []
        import numpy as np
        import torch

        flat = np.concatenate(views)
        fewest, most = getattr(self._network, "views_at_once", (1, len(flat)))
        parts = []
        with torch.inference_mode():
            for start in range(0, len(flat), most):
                batch = flat[start : start + most]
                # In smaller batches a score's last digits would depend on their size.
                filling = np.repeat(batch[-1:], max(0, fewest - len(batch)), axis=0)
                rows = torch.from_numpy(np.concatenate([batch, filling]))
                parts.append(self._network(rows).double().numpy()[: len(batch)])
        logits = np.concatenate(parts)
        if not np.isfinite(logits).all():
            raise ModelFaultError("the network gave NaN or infinity")
        frames = np.split(logits, np.cumsum([len(one) for one in views])[:-1])
        return [score_logit(float(frame.max()), self.card) for frame in frames]


def score_logit(logit: float, card: ModelCard) -> float:
    """The score in 0..1 of a network's logit, by the card's calibration and threshold."""
    # Limited so that nothing overflows; the calibration in training does the same.
    scaled = min(60.0, max(-60.0, logit / card.temperature + card.bias))
    return card.to_score(1.0 / (1.0 + math.exp(-scaled)))


class FrameModel:
    """The same as an MLflow model."""

    def __init__(self, scorer: FrameScorer) -> None:
        self._scorer = scorer

    def predict(self, frames: pd.DataFrame, params: dict[str, Any] | None = None) -> list[float]:  # noqa: ARG002 - MLflow's signature
        """Score a DataFrame with the column `image`: base64 JPEGs. Raises ValueError for others."""
        cells = list(frames["image"])
        return self._scorer.score([decode_cell(cell, n) for n, cell in enumerate(cells)])


def _load_pyfunc(path: str) -> FrameModel:
    """Load the model for MLflow, which knows this function by its name."""
    return FrameModel(load_model(Path(path)))


def load_model(folder: Path) -> FrameScorer:
    """Load the artifact at or under a folder. Raises FormatError, which says what is wrong."""
    from safetensors.torch import load_file

    folder = find_artifact(folder)
    card = read_card(folder)
    with _filling(folder):
        network = fill_network(card, load_file(folder / WEIGHTS_NAME))
    return FrameScorer(card, network)


def load_head(folder: Path, card: ModelCard) -> torch.nn.Module:
    """The head alone of a clip-head, in fp64: unit features (N, D) to logits (N, 1).

    Raises FormatError, as `load_model` does.
    """
    from safetensors import safe_open

    from guardian_cli.serving.networks import build_head

    with _filling(folder):
        with safe_open(folder / WEIGHTS_NAME, "pt") as file:
            names = [name for name in file.keys() if name.startswith("head.")]  # noqa: SIM118 - no mapping
            tensors = {name.removeprefix("head."): file.get_tensor(name) for name in names}
        width = int(card.options["clip_config"]["embed_dim"])
        head = build_head(width, int(card.options.get("hidden", 0)))
        head.load_state_dict(tensors)
    return head.double().eval()


@contextmanager
def _filling(folder: Path) -> Iterator[None]:
    """Raise FormatError for weights that can't be read, or don't fit the card beside them."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise FormatError(f"{folder / WEIGHTS_NAME}: cannot be read: {error}") from error
    except (RuntimeError, KeyError, TypeError) as error:
        lines = " ".join(str(error).split())
        raise FormatError(f"{folder / CARD_NAME} does not fit its weights: {lines}") from error


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
