"""A vision transformer's features by as little work as they need.

CLIP's features are read from the first token alone: in the last block the other tokens matter as
keys and values only; their queries, projections and MLP are 7% of a ViT-B-32's arithmetic. The
linear layers are laid out once (see `linear`), cutting into patches is one of them, and attention
is one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from guardian_cli.detectors.clip.lean_import import import_open_clip
from guardian_cli.detectors.clip.linear import linear_of
from guardian_cli.detectors.clip.loading import settle

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Map = Callable[[Tensor], Tensor]


def is_plain(visual: Any) -> bool:
    """Whether a tower is a vision transformer that `PlainVit` computes as it does itself."""
    transformers = import_open_clip().transformer
    return (
        type(visual) is transformers.VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and not visual.output_tokens
        and visual.transformer.batch_first
        and visual.conv1.bias is None
        and not any(
            side % patch for side, patch in zip(visual.image_size, visual.patch_size, strict=True)
        )
        and all(map(_is_plain_block, visual.transformer.resblocks))
    )


def _is_plain_block(block: Any) -> bool:
    import torch

    transformers = import_open_clip().transformer
    return (
        type(block) is transformers.ResidualAttentionBlock
        and not hasattr(block, "ln_1_kv")
        and type(block.attn) is torch.nn.MultiheadAttention
        and block.attn.in_proj_weight is not None
    )


class _Block(NamedTuple):
    """One residual block; `head_count` of its attention."""

    norm_1: Map
    query_key_value: Map
    project: Map
    scale_1: Map
    norm_2: Map
    widen: Map
    activate: Map
    narrow: Map
    scale_2: Map
    head_count: int

    @classmethod
    def of(cls, block: Any, device: str, dtype: Any) -> _Block:
        """Take a block over, one layer after the other, so that no second copy of all comes up."""

        def take(weight: Tensor, bias: Tensor, *, gelu: bool = False) -> Map:
            pair = (numbers.detach().to(device, dtype, copy=True) for numbers in (weight, bias))
            return linear_of(*pair, gelu=gelu)

        attention, mlp = block.attn, block.mlp
        gelu = _is_gelu(mlp.gelu)
        return cls(
            norm_1=settle(block.ln_1, device, dtype),
            query_key_value=take(attention.in_proj_weight, attention.in_proj_bias),
            project=take(attention.out_proj.weight, attention.out_proj.bias),
            scale_1=settle(block.ls_1, device, dtype),
            norm_2=settle(block.ln_2, device, dtype),
            widen=take(mlp.c_fc.weight, mlp.c_fc.bias, gelu=gelu),
            activate=_same if gelu else mlp.gelu,
            narrow=take(mlp.c_proj.weight, mlp.c_proj.bias),
            scale_2=settle(block.ls_2, device, dtype),
            head_count=attention.num_heads,
        )

    def __call__(self, tokens: Tensor, *, only_first: bool = False) -> Tensor:
        """Tokens (N, T, C) after this block; (N, 1, C) when only the first is wanted."""
        attended = self.scale_1(self._attend(self.norm_1(tokens), only_first=only_first))
        tokens = (tokens[:, :1] if only_first else tokens) + attended
        wide = self.activate(self.widen(self.norm_2(tokens)))
        return tokens + self.scale_2(self.narrow(wide))

    def _attend(self, tokens: Tensor, *, only_first: bool) -> Tensor:
        import torch

        parts = self.query_key_value(tokens)
        parts = parts.view(*parts.shape[:2], 3, self.head_count, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        query = query[:, :, :1] if only_first else query
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return self.project(mixed.transpose(1, 2).flatten(2))


class PlainVit:
    """open_clip's VisionTransformer, taken over: the module is of no use on its own any more."""

    def __init__(self, visual: Any, device: str, dtype: Any) -> None:
        """Copy all of it to a device, as numbers of `dtype`."""
        self._blocks = [_Block.of(one, device, dtype) for one in visual.transformer.resblocks]
        width = visual.conv1.out_channels
        filters = visual.conv1.weight.detach().to(device, dtype, copy=True)
        self._patch_px: tuple[int, int] = visual.patch_size
        self._embed_patches = linear_of(filters.view(width, -1), None)
        visual.transformer = visual.conv1 = None
        self._ends = settle(visual, device, dtype)

    def encode(self, pictures: Tensor) -> Tensor:
        """Features (N, D) of pictures (N, 3, H, W), both in the model's own numbers."""
        tokens = self._embed(pictures)
        *blocks, last = self._blocks
        for block in blocks:
            tokens = block(tokens)
        # The step of its own `forward`.
        pooled, _ = self._ends._pool(last(tokens, only_first=True))  # noqa: SLF001
        features: Tensor = pooled if self._ends.proj is None else pooled @ self._ends.proj
        return features

    def _embed(self, pictures: Tensor) -> Tensor:
        """Tokens (N, T, C): the class token, then a token for each patch, row by row."""
        import torch

        count, channels, height, width = pictures.shape
        high, wide = self._patch_px
        grid = pictures.view(count, channels, height // high, high, width // wide, wide)
        patches = grid.permute(0, 2, 4, 1, 3, 5).reshape(count, -1, channels * high * wide)
        first = self._ends.class_embedding.expand(count, 1, -1)
        tokens = torch.cat([first, self._embed_patches(patches)], dim=1)
        embedded: Tensor = self._ends.ln_pre(tokens + self._ends.positional_embedding)
        return embedded


def _is_gelu(layer: Any) -> bool:
    import torch

    return type(layer) is torch.nn.GELU and layer.approximate == "none"


def _same(rows: Tensor) -> Tensor:
    return rows
