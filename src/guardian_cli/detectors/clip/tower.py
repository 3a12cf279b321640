"""The half of CLIP that looks: from frames to views, and from views to features."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.cache import digest_of
from guardian_cli.detectors.clip.speedups import import_open_clip, speed_up
from guardian_cli.serving.views import views_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from guardian_cli.detectors.clip.architecture import Architecture

BATCH_SIZE = 32
# From so many rows on, a matrix product in fp32 on a CPU adds up in the same order however many
# there are: a frame's features are the same, to the last bit, whatever is in a batch beside it.
MIN_ROWS = 4


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What a model wants of its pictures: (height, width) in pixels, RGB mean and deviation."""

    size_px: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Preprocessing:
        """Take open_clip's `preprocess_cfg`.

        Its `resize_mode` says how a whole picture is made square; the views do that here, for
        every mode the same.
        """
        size = settings["size"]
        height, width = (size, size) if isinstance(size, int) else size
        smooth = "bilinear" if settings["interpolation"] == "bilinear" else "bicubic"
        return cls((height, width), tuple(settings["mean"]), tuple(settings["std"]), smooth)


def name_backbone(weights: str, architecture: Architecture, preprocessing: Preprocessing) -> str:
    """A digest of all that features of a picture depend on, but for the numbers' precision.

    `weights` is the checkpoint's own digest. Towers of one name make features that are the same; a
    tower whose pictures no endpoint would shrink in the same way has none.
    """
    if preprocessing.interpolation != "bicubic":
        return ""
    parts = [describe_tower(architecture), weights, asdict(preprocessing), "overlapping"]
    return digest_of(parts)


def describe_tower(architecture: Architecture) -> dict[str, Any]:
    """What of an open_clip config concerns the image tower: embed_dim, vision_cfg, quick_gelu."""
    config, overrides = architecture.config, architecture.overrides
    quick = overrides.get("quick_gelu", config.get("quick_gelu", False))
    return {
        "embed_dim": config["embed_dim"],
        "vision_cfg": config["vision_cfg"],
        "quick_gelu": bool(quick),
    }


@dataclass(frozen=True, slots=True)
class ImageTower:
    """An image tower on its device; `encode` maps pictures (N, 3, H, W) to features (N, D)."""

    encode: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing
    device: str
    precision: str

    def features(self, views: Tensor) -> Tensor:
        """Unit features (N, D), float32 on the CPU, of uint8 views (N, 3, H, W)."""
        import torch

        dtype, parts = dtype_of(self.precision), []
        fewest = MIN_ROWS if (self.device, self.precision) == ("cpu", "fp32") else 1
        for part in views.split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            filling = [part[-1:]] * max(0, fewest - len(part))
            rows = torch.cat([part, *filling]) if filling else part
            # They go to the device as bytes, a quarter of what they are as numbers.
            pictures = normalise(rows.to(self.device), self.preprocessing)
            parts.append(self.encode(pictures.to(dtype))[: len(part)].float().cpu())
        return torch.nn.functional.normalize(torch.cat(parts), dim=1)


def build_tower(clip: Any, device: str, precision: str) -> ImageTower:
    """Bring the image half of an open_clip model to a device; `clip` is of no use afterwards."""
    import torch

    open_clip = import_open_clip()
    preprocessing = Preprocessing.read(open_clip.get_model_preprocess_cfg(clip))
    is_whole = type(clip) not in {open_clip.CLIP, open_clip.CustomTextCLIP}
    module = clip if is_whole else clip.visual
    with torch.inference_mode():
        module = module.to(device=device, dtype=dtype_of(precision))
        # Elsewhere `to` has made a copy; here the numbers are still those in the file.
        if torch.device(device).type == "cpu" and precision == "fp32":
            own_memory(module)
        # CoCa and the like need more than `visual` for their features, and are left as they are.
        if not is_whole:
            speed_up(module)
    return ImageTower(module.encode_image if is_whole else module, preprocessing, device, precision)


def own_memory(module: Any) -> None:
    """Copy all numbers of a module into memory: they may be mapped from a file that can change."""
    for numbers in (*module.parameters(), *module.buffers()):
        numbers.data = numbers.data.clone()


def dtype_of(precision: str) -> Any:
    """PyTorch's dtype for fp32, bf16 or fp16."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def cut_views(
    images: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing
) -> tuple[Tensor, list[int]]:
    """Cut and resize the views of BGR frames (H x W x 3, uint8).

    Returns the views, RGB (V, 3, height, width), uint8 on the CPU, and for each view the index of
    the frame it is from.
    """
    import numpy as np
    import torch

    # Views of one size are resized at once.
    by_size: dict[tuple[int, int], list[tuple[int, NDArray[np.uint8]]]] = {}
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        for view in views_of(width, height):
            crop = image[view.top : view.top + view.height, view.left : view.left + view.width]
            by_size.setdefault((view.height, view.width), []).append((index, crop))
    owners, resized = [], []
    for crops in by_size.values():
        owners += [index for index, _ in crops]
        stacked = torch.from_numpy(np.stack([crop for _, crop in crops])).permute(0, 3, 1, 2)
        small = torch.nn.functional.interpolate(
            stacked, size=preprocessing.size_px, mode=preprocessing.interpolation, antialias=True
        )
        resized.append(small.flip(1))
    return torch.cat(resized), owners


def normalise(views: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Views as `cut_views` gives them to what the image tower takes: float32, where they are."""
    import torch

    mean = torch.tensor(preprocessing.mean, device=views.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=views.device).view(1, 3, 1, 1)
    return views.float().div_(255).sub_(mean).div_(std)
