"""The half of CLIP that looks: on its device, in its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.lean_import import import_open_clip
from guardian_cli.detectors.clip.loading import settle
from guardian_cli.detectors.clip.pixels import Preprocessing, normalise
from guardian_cli.detectors.clip.plain_vit import PlainVit, is_plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

BATCH_SIZE = 32


@dataclass(frozen=True, slots=True)
class ImageTower:
    """The half of CLIP that looks: `encode` maps (N, 3, H, W) to features (N, D)."""

    encode: Callable[[Tensor], Tensor]
    preprocessing: Preprocessing
    device: str
    precision: str

    def features(self, views: Tensor) -> Tensor:
        """Unit features (N, D), float32 on the CPU, of uint8 views (N, 3, H, W).

        Views go to the device as bytes, a quarter of what they are as numbers.
        """
        import torch

        dtype, parts = _numbers_of(self.precision), []
        for part in views.split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            pictures = normalise(part.to(self.device), self.preprocessing)
            parts.append(self.encode(pictures.to(dtype)).float().cpu())
        return torch.nn.functional.normalize(torch.cat(parts), dim=1)


def build_tower(clip: Any, device: str, precision: str) -> ImageTower:
    """Keep the half of a model that looks, let the text half go where that is possible."""
    import torch

    open_clip = import_open_clip()
    preprocessing = Preprocessing.read(open_clip.get_model_preprocess_cfg(clip))
    dtype = _numbers_of(precision)
    whole = type(clip) not in {open_clip.CLIP, open_clip.CustomTextCLIP}
    with torch.inference_mode():
        if whole:
            encode = settle(clip, device, dtype).encode_image
        elif is_plain(clip.visual):
            encode = PlainVit(clip.visual, device, dtype).encode
        else:
            encode = settle(clip.visual, device, dtype)
    return ImageTower(encode, preprocessing, device, precision)


def _numbers_of(precision: str) -> Any:
    """PyTorch's dtype for fp32, bf16 or fp16."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
