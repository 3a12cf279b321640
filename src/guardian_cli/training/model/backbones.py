"""What sees the pictures: a network of our own, trained whole, or a frozen CLIP with a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from guardian_cli.errors import PlatformError
from guardian_cli.serving.format import CLIP_MEAN, CLIP_STD, ModelCard
from guardian_cli.training.model.bags import Bags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from guardian_cli.training.data.frames import Gallery
    from guardian_cli.training.model.heads import BagNetwork

BackboneName = Literal["auto", "clip", "tiny"]
FEATURES_NAME = "features.f32"
_EMBED_BATCH = 32


@dataclass(frozen=True, slots=True)
class Recipe:
    """What training a backbone's network takes by default; see `loop.LoopSettings`."""

    epochs: int
    patience: int
    learning_rate: float
    bags: int
    frames: int


class Backbone(Protocol):
    """From a gallery to a network that can be trained, and to one that can be served."""

    @property
    def name(self) -> str:
        """`tiny` or `clip`."""

    @property
    def px(self) -> int:
        """The side of the square pictures it looks at."""

    @property
    def video_frames(self) -> int:
        """How many frames of a video it looks at."""

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""

    def prepare(
        self,
        gallery: Gallery,
        positive: Sequence[bool],
        folder: Path,
        tell: Callable[[int, int], None],
    ) -> Bags:
        """Make the inputs; what is kept in `folder` is found again. `tell` gets (done, all)."""

    def build(self, *, temporal: bool) -> BagNetwork:
        """A fresh network for these inputs."""

    def export(self, network: BagNetwork) -> torch.nn.Module:
        """The network that scores single frames, as `serving.networks` would build it."""

    def card(self, model: str, category: str) -> ModelCard:
        """The artifact's card, without what only training can know."""


@dataclass(frozen=True, slots=True)
class TinyBackbone:
    """A small convolutional network, trained from nothing; needs no download."""

    px: int = 96
    width: int = 16
    video_frames: int = 8
    recipe: Recipe = Recipe(epochs=20, patience=6, learning_rate=3e-3, bags=16, frames=4)
    name: str = "tiny"

    def prepare(
        self,
        gallery: Gallery,
        positive: Sequence[bool],
        folder: Path,  # noqa: ARG002 - nothing is computed
        tell: Callable[[int, int], None],  # noqa: ARG002 - as above
    ) -> Bags:
        """Take the pictures themselves."""
        return Bags(gallery.all_pictures(), *_rows(gallery), positive, mean=CLIP_MEAN, std=CLIP_STD)

    def build(self, *, temporal: bool) -> BagNetwork:
        """The tiny network, cut in two where its features leave it."""
        from guardian_cli.serving.networks import TinyNetwork
        from guardian_cli.training.model.heads import BagNetwork, TinyEmbedding

        tiny = TinyNetwork(self.width)
        embedding = TinyEmbedding(tiny.features, tiny.body)
        return BagNetwork(embedding, tiny.head, tiny.head.in_features, temporal=temporal)

    def export(self, network: BagNetwork) -> torch.nn.Module:
        """Put the two halves together again."""
        from guardian_cli.serving.networks import TinyNetwork

        tiny = TinyNetwork(self.width)
        # The body keeps its name in the embedding; what the attention has learned stays here.
        parts = {**network.embed.state_dict(), **network.head.state_dict(prefix="head.")}
        tiny.load_state_dict(parts)
        return tiny.eval()

    def card(self, model: str, category: str) -> ModelCard:
        """The card of a tiny network."""
        return ModelCard(
            model, category, "tiny", {"width": self.width}, self.px, mean=CLIP_MEAN, std=CLIP_STD
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tower:
    """A loaded image tower of open_clip: its config (embed_dim, vision_cfg), and its input."""

    module: torch.nn.Module
    config: Mapping[str, Any]
    px: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    label: str
    device: str = "cpu"
    bf16: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ClipBackbone:
    """A frozen tower whose features are computed once; only the head learns."""

    tower: Tower
    hidden: int = 64
    video_frames: int = 16
    recipe: Recipe = Recipe(epochs=60, patience=12, learning_rate=2e-3, bags=32, frames=64)
    name: str = "clip"

    @property
    def px(self) -> int:
        """The side of the square pictures that the tower looks at."""
        return self.tower.px

    @property
    def _features(self) -> int:
        return int(self.tower.config["embed_dim"])

    def prepare(
        self,
        gallery: Gallery,
        positive: Sequence[bool],
        folder: Path,
        tell: Callable[[int, int], None],
    ) -> Bags:
        """Compute the features, or go on where an interrupted run stopped."""
        pictures = gallery.all_pictures()
        path = folder / FEATURES_NAME
        size = 4 * self._features
        done = min(path.stat().st_size // size, len(pictures)) if path.is_file() else 0
        try:
            with path.open("r+b" if done else "wb") as file:
                file.truncate(done * size)
                file.seek(done * size)
                for start in range(done, len(pictures), _EMBED_BATCH):
                    file.write(self._embed(pictures[start : start + _EMBED_BATCH]).tobytes())
                    tell(min(start + _EMBED_BATCH, len(pictures)), len(pictures))
        except OSError as error:
            raise PlatformError(f"{path}: features cannot be kept: {error.strerror}") from error
        return Bags(_map(path, len(pictures), self._features), *_rows(gallery), positive)

    def _embed(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
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
        """The head alone: its inputs are the features."""
        from torch import nn

        from guardian_cli.serving.networks import build_head
        from guardian_cli.training.model.heads import BagNetwork

        head = build_head(self._features, self.hidden)
        return BagNetwork(nn.Identity(), head, self._features, temporal=temporal)

    def export(self, network: BagNetwork) -> torch.nn.Module:
        """The tower and the head."""
        from guardian_cli.serving.networks import ClipHead

        whole = ClipHead(self.tower.config, self.hidden)
        whole.tower.load_state_dict(self.tower.module.state_dict())
        whole.head.load_state_dict(network.head.state_dict())
        return whole.float().eval()

    def card(self, model: str, category: str) -> ModelCard:
        """The card of a tower with a head."""
        options = {"clip_config": dict(self.tower.config), "hidden": self.hidden}
        return ModelCard(
            model,
            category,
            "clip-head",
            options,
            self.px,
            mean=self.tower.mean,
            std=self.tower.std,
        )


def _rows(gallery: Gallery) -> tuple[list[int], list[int]]:
    return [one.start for one in gallery.entries], [one.count for one in gallery.entries]


def _map(path: Path, rows: int, columns: int) -> NDArray[np.float32]:
    import numpy as np

    return np.memmap(path, np.float32, "r", shape=(rows, columns))
