"""A linear layer for many calls: its weights lie in memory as the processor's kernels want them.

oneDNN multiplies bf16 matrices in a layout of its own and, given plain weights, brings them into it
at every call. Laid out once, the product is 5% faster in large batches and more in small ones, and
the activation behind it costs no pass of its own. PyTorch's compiler does the same by the same
operators, but importing that takes longer than many a scan.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.hardware import has_native_bf16

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor


def linear_of(
    weight: Tensor, bias: Tensor | None, *, gelu: bool = False
) -> Callable[[Tensor], Tensor]:
    """What maps (..., K) to (..., N) by a weight (N, K) and a bias (N), then GELU if wanted."""
    kernels = _kernels_for(weight)
    if kernels is None:
        return functools.partial(_plain, weight=weight, bias=bias, gelu=gelu)
    laid_out = kernels._reorder_linear_weight(weight.contiguous())  # noqa: SLF001
    after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
    return lambda rows: kernels._linear_pointwise(rows, laid_out, bias, *after)  # noqa: SLF001


def _kernels_for(weight: Tensor) -> Any:
    """PyTorch's operators for it; None where numbers, processor or build are others."""
    import torch

    kernels = torch.ops.mkldnn
    needed = ("_reorder_linear_weight", "_linear_pointwise")
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or not has_native_bf16():
        return None
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return kernels if there and all(hasattr(kernels, name) for name in needed) else None


def _plain(rows: Tensor, weight: Tensor, bias: Tensor | None, *, gelu: bool) -> Tensor:
    import torch

    mapped = torch.nn.functional.linear(rows, weight, bias)
    return torch.nn.functional.gelu(mapped) if gelu else mapped
