"""What sees the pictures: a network of our own, trained whole, or a frozen CLIP with a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from guardian_cli.detectors.clip.architecture import find_weights, read_architecture
from guardian_cli.detectors.clip.cache import Cache
from guardian_cli.detectors.clip.detector import DEFAULT_CACHE
from guardian_cli.detectors.clip.hardware import choose_device, choose_precision
from guardian_cli.detectors.clip.hub import Hub
from guardian_cli.detectors.clip.loading import map_model
from guardian_cli.detectors.clip.tower import (
    Preprocessing,
    describe_tower,
    name_backbone,
    own_memory,
)
from guardian_cli.errors import MissingError, PlatformError
from guardian_cli.serving.format import CLIP_MEAN, CLIP_STD, ModelCard
from guardian_cli.training.model.trainer import Bags, TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from guardian_cli.config import ClipSection
    from guardian_cli.training.data.frame_store import FrameStore
    from guardian_cli.training.model.heads import BagNetwork

BackboneName = Literal["auto", "clip", "tiny"]
FEATURES_NAME = "features.f32"
_EMBED_BATCH = 32
_TINY_RECIPE = TrainSettings(epochs=20, patience=6, learning_rate=3e-3, bags=16, frames=4)
_CLIP_RECIPE = TrainSettings(epochs=60, patience=12, learning_rate=2e-3, bags=32, frames=64)


@dataclass(frozen=True, slots=True)
class TinyBackbone:
    """A small convolutional network, trained from nothing; needs no download."""

    px: int = 96
    width: int = 16
    video_frames: int = 8
    views: str = "squash"
    recipe: TrainSettings = _TINY_RECIPE
    label: str = "tiny"

    def prepare(
        self,
        store: FrameStore,
        positive: Sequence[bool],
        folder: Path,  # noqa: ARG002 - nothing is computed
        on_progress: Callable[[int, int], None],  # noqa: ARG002 - as above
    ) -> Bags:
        """Take the pictures themselves."""
        starts, counts = [one.start for one in store.stored], [one.count for one in store.stored]
        return Bags(store.all_pictures(), starts, counts, positive, mean=CLIP_MEAN, std=CLIP_STD)

    def build(self, *, temporal: bool) -> BagNetwork:
        """Cut the tiny network in two where its features leave it."""
        from guardian_cli.serving.networks import TinyNetwork
        from guardian_cli.training.model.heads import BagNetwork

        tiny = TinyNetwork(self.width)
        return BagNetwork(tiny.body, tiny.head, tiny.head.in_features, temporal=temporal)

    def export(self, network: BagNetwork) -> torch.nn.Module:
        """Put the two halves together again."""
        from guardian_cli.serving.networks import TinyNetwork

        tiny = TinyNetwork(self.width)
        # What the attention over time has learned stays here: an endpoint is sent single frames.
        tiny.body.load_state_dict(network.embed.state_dict())
        tiny.head.load_state_dict(network.head.state_dict())
        return tiny.eval()

    def card(self, model: str, category: str) -> ModelCard:
        """Return the card of a tiny network."""
        options = {"width": self.width}
        return ModelCard(model, category, "tiny", options, self.px, mean=CLIP_MEAN, std=CLIP_STD)


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """A loaded image tower of open_clip: its config (embed_dim, vision_cfg), and its input.

    `backbone` names it for the CLIP that scans, "" for none: see `clip.tower.name_backbone`.
    """

    module: torch.nn.Module
    config: Mapping[str, Any]
    px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    label: str
    device: str = "cpu"
    bf16: bool = False
    backbone: str = ""


def load_tower(
    clip: ClipSection,
    tell: Callable[[str], None],
    *,
    offline: bool = False,
    model_config: Path | None = None,
) -> Tower:
    """Load the image tower of the CLIP that guardian.yaml names, as the detector does.

    Raises MissingError when the weights can't be had, UsageError for a model or a file that makes
    none.
    """
    own_config = model_config is not None
    weights = find_weights(
        clip.model, clip.pretrained, Hub(), own_config=own_config, offline=offline, tell=tell
    )
    architecture = read_architecture(clip.model, clip.pretrained, model_config)
    model = map_model(architecture, weights)
    own_memory(model.visual)
    picture = Preprocessing.read(model.visual.preprocess_cfg)
    height, width = picture.size_px
    if height != width:
        raise MissingError(f"{weights.label} looks at {width}x{height}: training needs a square")
    device = choose_device("auto")
    digest = Cache(DEFAULT_CACHE).digest(weights.path)
    return Tower(
        module=model.visual.to(device).eval().requires_grad_(requires_grad=False),
        config=describe_tower(architecture),
        px=width,
        mean=(picture.mean[0], picture.mean[1], picture.mean[2]),
        std=(picture.std[0], picture.std[1], picture.std[2]),
        label=weights.label,
        device=device,
        backbone=name_backbone(digest, architecture, picture),
        # Half precision where a scan takes it, but always bf16, which has the range of fp32.
        bf16=choose_precision("auto", device) in {"bf16", "fp16"},
    )


@dataclass(frozen=True, slots=True, eq=False)
class ClipBackbone:
    """A frozen tower whose features are computed once; only the head learns.

    It looks at frames by the views that the CLIP of a scan looks at, so that the head can take its
    features there.
    """

    tower: Tower
    hidden: int = 64
    video_frames: int = 16
    views: str = "overlapping"
    recipe: TrainSettings = _CLIP_RECIPE

    @property
    def label(self) -> str:
        """The tower's model and weights."""
        return f"clip {self.tower.label}"

    @property
    def px(self) -> int:
        """The side of the square pictures that the tower looks at."""
        return self.tower.px

    @property
    def features(self) -> int:
        """How many numbers the tower makes of a picture."""
        return int(self.tower.config["embed_dim"])

    def prepare(
        self,
        store: FrameStore,
        positive: Sequence[bool],
        folder: Path,
        on_progress: Callable[[int, int], None],
    ) -> Bags:
        """Compute the features, or go on where an interrupted run stopped."""
        import numpy as np

        pictures = store.all_pictures()
        path = folder / FEATURES_NAME
        size = 4 * self.features
        done = min(path.stat().st_size // size, len(pictures)) if path.is_file() else 0
        try:
            with path.open("r+b" if done else "wb") as file:
                # A kill may have left half a row.
                file.truncate(done * size)
                file.seek(done * size)
                for start in range(done, len(pictures), _EMBED_BATCH):
                    file.write(self.embed(pictures[start : start + _EMBED_BATCH]).tobytes())
                    on_progress(min(start + _EMBED_BATCH, len(pictures)), len(pictures))
        except OSError as error:
            raise PlatformError(f"{path}: features cannot be kept: {error.strerror}") from error
        features = np.memmap(path, np.float32, "r", shape=(len(pictures), self.features))
        starts, counts = [one.start for one in store.stored], [one.count for one in store.stored]
        views = [one.views for one in store.stored]
        return Bags(features, starts, counts, positive, views=views)

    def embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn pictures (N, px, px, 3) uint8 RGB into features (N, D), each of length 1."""
        import numpy as np
        import torch

        tower = self.tower
        mean, std = (torch.tensor(one).view(1, 3, 1, 1) for one in (tower.mean, tower.std))
        inputs = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255.0
        with (
            torch.inference_mode(),
            torch.autocast(tower.device, torch.bfloat16, enabled=tower.bf16),
        ):
            found = tower.module(((inputs - mean) / std).to(tower.device))
        unit = torch.nn.functional.normalize(found.float(), dim=-1)
        return np.asarray(unit.cpu().numpy(), dtype=np.float32)

    def build(self, *, temporal: bool) -> BagNetwork:
        """Build the head alone: its inputs are the features."""
        from torch import nn

        from guardian_cli.serving.networks import build_head
        from guardian_cli.training.model.heads import BagNetwork

        head = build_head(self.features, self.hidden)
        return BagNetwork(nn.Identity(), head, self.features, temporal=temporal)

    def export(self, network: BagNetwork) -> torch.nn.Module:
        """Put the tower and the head together."""
        from guardian_cli.serving.networks import ClipHead

        # The endpoint gets the tower as well: nothing is downloaded there.
        whole = ClipHead(self.tower.config, self.hidden)
        whole.tower.load_state_dict(self.tower.module.state_dict())
        whole.head.load_state_dict(network.head.state_dict())
        return whole.float().eval()

    def card(self, model: str, category: str) -> ModelCard:
        """Return the card of a tower with a head."""
        tower = self.tower
        options = {"clip_config": dict(tower.config), "hidden": self.hidden}
        return ModelCard(
            model,
            category,
            "clip-head",
            options,
            self.px,
            views=self.views,
            mean=tower.mean,
            std=tower.std,
            backbone=tower.backbone,
        )


# `label` is what the report calls a backbone, and changes when its numbers would; `px` is the side
# of the squares that it sees, `views` how a frame becomes squares, `video_frames` how many frames
# of a video.
Backbone = TinyBackbone | ClipBackbone
