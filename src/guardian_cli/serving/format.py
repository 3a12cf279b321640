"""The artifact that training saves and every endpoint loads: a folder with two files.

    model.json            the card: what the network is, how pictures enter it, how logits leave it
    weights.safetensors   every tensor of the network, the backbone's too: nothing is downloaded

Standard library only, so that reading a card costs nothing.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import torch

FORMAT = "guardian.model/1"
CARD_NAME = "model.json"
WEIGHTS_NAME = "weights.safetensors"
VIEWS = ("squash", "squares", "overlapping")

# What CLIP was trained with; a network of one's own may take it as well.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class FormatError(ValueError):
    """The folder holds no model of ours, or a damaged one; the message names the file."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is.

    `architecture` and `options` go to `networks.build_network`. `input_px` is the side of the
    square that the network sees; `views` says how a frame becomes squares: "squash" (the whole
    frame, squeezed into one), "squares" (as many as cover the frame; the largest score counts), or
    "overlapping" (likewise, by the views of `serving.views`, which CLIP looks at as well).
    `mean` and `std` are per RGB channel, for values in 0..1. A logit z has the probability
    1 / (1 + exp(-(z / temperature + bias))), Platt's scaling. `threshold` is the probability from
    which training calls a file positive: it is served as the score 0.5 (see `to_score`). None,
    as in a card that does not have it, serves the probability itself. `data_digest` names the data
    it has seen. `backbone` names what makes a clip-head's features, "" where that is not known: a
    CLIP of the same name makes the same.
    """

    model: str
    category: str
    architecture: str
    options: Mapping[str, Any] = field(default_factory=dict)
    input_px: int = 96
    views: str = "squash"
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    temperature: float = 1.0
    bias: float = 0.0
    threshold: float | None = None
    data_digest: str = ""
    backbone: str = ""
    format: str = FORMAT

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise FormatError(f"the format is {self.format!r}, this guardian reads {FORMAT!r}")
        if self.views not in VIEWS:
            raise FormatError(f"views is {self.views!r}, not one of {', '.join(VIEWS)}")
        if not 8 <= self.input_px <= 1024:
            raise FormatError(f"input_px is {self.input_px}, not in 8..1024")
        if not self.temperature > 0:
            raise FormatError(f"temperature is {self.temperature}, not over 0")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise FormatError(f"threshold is {self.threshold}, not in 0..1")
        if len(self.mean) != 3 or len(self.std) != 3 or not all(value > 0 for value in self.std):
            raise FormatError("mean and std must be three numbers each, std over 0")

    def to_score(self, probability: float) -> float:
        """Map a probability so that the threshold becomes 0.5: two straight lines; 0 and 1 stay.

        Everything behind an endpoint (fusion, `review`, `block`) takes 0.5 for the point of
        decision, wherever a training has found its own. The order of scores stays.
        """
        threshold = 0.5 if self.threshold is None else self.threshold
        if probability < threshold:
            return 0.5 * (probability / threshold)
        # Also where the threshold is one of them, and dividing would not do.
        if probability in (0.0, 1.0):
            return probability
        return 0.5 + 0.5 * ((probability - threshold) / (1.0 - threshold))


def read_card(folder: Path) -> ModelCard:
    """Read model.json. Raises FormatError."""
    path = folder / CARD_NAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise FormatError(f"{path}: is no JSON object")
    known = {one.name for one in dataclasses.fields(ModelCard)}
    # What an unknown key asks for would be left out in silence.
    if unknown := sorted(set(data) - known):
        raise FormatError(f"{path}: unknown key {unknown[0]!r}")
    # JSON knows no tuples.
    data |= {name: tuple(data[name]) for name in ("mean", "std") if name in data}
    try:
        return ModelCard(**data)
    except (TypeError, FormatError) as error:
        raise FormatError(f"{path}: {error}") from error


def write_card(folder: Path, card: ModelCard) -> None:
    """Write model.json, whole or not at all."""
    text = json.dumps(dataclasses.asdict(card), indent=2, sort_keys=True) + "\n"
    partial = folder / (CARD_NAME + ".part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(folder / CARD_NAME)


def save_model(folder: Path, card: ModelCard, network: torch.nn.Module) -> None:
    """Write the artifact: the weights first, the card last, so that a card means a whole model."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: one.detach().cpu().contiguous() for name, one in network.state_dict().items()}
    partial = folder / (WEIGHTS_NAME + ".part")
    save_file(tensors, partial)
    partial.replace(folder / WEIGHTS_NAME)
    write_card(folder, card)


def find_artifact(folder: Path) -> Path:
    """Find the folder with model.json at or under a folder. Raises FormatError for none or two."""
    if (folder / CARD_NAME).is_file():
        return folder
    # A platform mounts a model some folders deep: under its name, its version, MLflow's `data`.
    found = sorted(path.parent for path in folder.rglob(CARD_NAME))
    if len(found) != 1:
        raise FormatError(f"{folder}: {len(found)} files named {CARD_NAME} in it, not one")
    return found[0]
