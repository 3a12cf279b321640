"""From frames to what CLIP's image tower takes, in batches rather than picture by picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.views import views_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


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


def cut_views(
    images: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing
) -> tuple[Tensor, list[int]]:
    """Cut and resize the views of BGR frames (H x W x 3, uint8).

    Returns the views, RGB (V, 3, height, width), uint8 on the CPU, and for each view the index of
    the frame it is from.
    """
    import torch

    by_size: dict[tuple[int, int], list[tuple[int, NDArray[np.uint8]]]] = {}
    for index, image in enumerate(images):
        height, width = image.shape[:2]
        for view in views_of(width, height):
            crop = image[view.top : view.top + view.height, view.left : view.left + view.width]
            by_size.setdefault((view.height, view.width), []).append((index, crop))
    owners = [index for crops in by_size.values() for index, _ in crops]
    resized = [_resize([crop for _, crop in crops], preprocessing) for crops in by_size.values()]
    return torch.cat(resized), owners


def normalise(views: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Views as `cut_views` gives them to what the image tower takes: float32, where they are."""
    import torch

    mean = torch.tensor(preprocessing.mean, device=views.device).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std, device=views.device).view(1, 3, 1, 1)
    return views.float().div_(255).sub_(mean).div_(std)


def _resize(crops: Sequence[NDArray[np.uint8]], preprocessing: Preprocessing) -> Tensor:
    """Resize BGR crops of one size to RGB (N, 3, height, width), uint8, as Pillow would."""
    import numpy as np
    import torch

    stacked = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    resized = torch.nn.functional.interpolate(
        stacked, size=preprocessing.size_px, mode=preprocessing.interpolation, antialias=True
    )
    return resized.flip(1)
