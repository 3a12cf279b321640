"""Building a network without the random numbers that a checkpoint overwrites at once.

PyTorch's own means for this, its meta device, runs whatever a model computes while it is built
through a part of the compiler, whose import takes longer than drawing the numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_FILLS = (
    "kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "uniform_",
    "xavier_normal_", "xavier_uniform_",
)  # fmt: skip


def unfilled() -> AbstractContextManager[object]:
    """While this is entered, parameters that would be random hold whatever was in memory.

    Only for models of which every parameter is then set, as a strict `load_state_dict` sees to.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    fills = {getattr(torch.nn.init, name) for name in _FILLS}
    fills |= {torch.Tensor.normal_, torch.Tensor.uniform_}

    class Unfilled(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            options = kwargs or {}
            if function in fills:
                return args[0] if args else options["tensor"]
            if function is torch.randn and "generator" not in options:
                return torch.empty(*args, **options)
            return function(*args, **options)

    return Unfilled()
