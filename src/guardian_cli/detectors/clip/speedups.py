"""What makes open_clip start and run faster: the only file that knows its insides, and torch's.

Each trick can be taken out on its own, and turns itself off where the libraries are no longer what
it was written for. What each one saves was measured with a ViT-B-32 of random weights on a
processor with AVX512-BF16, as processor time: see "The model" in docs/design.md.
"""

from __future__ import annotations

import functools
import gc
import importlib
import sys
import zipfile
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

from guardian_cli.detectors.clip.hardware import has_native_bf16

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from torch import Tensor

COMPILER, COMPILER_TOOLS = "torch._dynamo", "torch._dynamo.utils"
RANDOM_FILLS = (
    "kaiming_normal_", "kaiming_uniform_", "normal_", "trunc_normal_", "uniform_",
    "xavier_normal_", "xavier_uniform_",
)  # fmt: skip
# How far features may be off, as a share of the largest, to count as the same: fp32, and half.
TOLERANCE, HALF_TOLERANCE = 1e-4, 3e-2


def import_open_clip() -> Any:
    """Import open_clip without torch's compiler and timm, which take longer than all the rest.

    torchvision takes one function from the compiler, and open_clip tries for timm, whose models
    import the compiler as well. A model that needs timm gets it by `bring_timm`.
    """
    if "open_clip" not in sys.modules:
        was_collecting = gc.isenabled()
        # What is imported is no garbage, and looking for some takes a tenth of the time.
        gc.disable()
        try:
            import torch  # noqa: F401 - all of it, before anything of it is stood in for

            try:
                with _left_out():
                    import open_clip
            except ImportError:
                # This open_clip needs what was left out.
                for name in [one for one in sys.modules if one.partition(".")[0] == "open_clip"]:
                    del sys.modules[name]
                import open_clip  # noqa: F401
        finally:
            gc.freeze()
            if was_collecting:
                gc.enable()
    return sys.modules["open_clip"]


def bring_timm() -> None:
    """Let open_clip have timm after all, for an image tower that comes from there."""
    import_open_clip()
    adapter = importlib.import_module("open_clip.timm_model")
    if adapter.timm is None:
        importlib.reload(adapter)


@contextmanager
def _left_out() -> Iterator[None]:
    stand_ins: dict[str, Any] = {}
    if COMPILER not in sys.modules:
        stand_ins[COMPILER_TOOLS] = tools = ModuleType(COMPILER_TOOLS)

        def give(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            if sys.modules.get(COMPILER_TOOLS) is tools:
                del sys.modules[COMPILER_TOOLS]
            return getattr(importlib.import_module(COMPILER_TOOLS), name)

        tools.is_compile_supported = lambda device: give("is_compile_supported")(device)  # type: ignore[attr-defined]
        # Whatever else is asked for is the real thing at once: a saving less, and nothing wrong.
        tools.__getattr__ = give  # type: ignore[method-assign]
    if "timm" not in sys.modules:
        stand_ins["timm"] = None  # what the import system takes for "not to be found"
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name, stand_in) is stand_in:
                sys.modules.pop(name, None)


def no_init_weights() -> AbstractContextManager[object]:
    """While this is entered, parameters that would be random hold whatever was in memory.

    Only for a model that `map_checkpoint` fills then. PyTorch's own means for this, its meta
    device, imports the compiler, which takes longer than drawing the numbers.
    """
    import torch
    from torch.overrides import TorchFunctionMode

    fills = {getattr(torch.nn.init, name) for name in RANDOM_FILLS}
    fills |= {torch.Tensor.normal_, torch.Tensor.uniform_}

    class NoInitWeights(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            options = kwargs or {}
            if function in fills:
                return args[0] if args else options["tensor"]
            if function is torch.randn and "generator" not in options:
                return torch.empty(*args, **options)
            return function(*args, **options)

    return NoInitWeights()


def map_checkpoint(model: Any, path: Path) -> bool:
    """Fill a model by open_clip's own code, its numbers staying in the file until they are used.

    What is never used, such as the text half, is never read. Returns False where not every
    parameter was set: the model is then of no use. Raises whatever open_clip and torch do.
    """
    from torch.utils.serialization import config

    strict_calls = []
    own = model.load_state_dict

    def take_over(state: Any, strict: bool = True, **options: Any) -> Any:
        strict_calls.append(strict)
        return own(state, strict=strict, **{**options, "assign": True})

    model.load_state_dict = take_over
    try:
        # Files in PyTorch's format from before 1.6 are no archives and can't be mapped.
        with config.patch({"load.mmap": zipfile.is_zipfile(path)}):  # type: ignore[attr-defined]
            import_open_clip().load_checkpoint(model, str(path), weights_only=True)
    finally:
        del model.load_state_dict
    return strict_calls == [True]


def speed_up(visual: Any) -> bool:
    """Change a vision transformer in place so that the same features take less work.

    CLIP reads features from the first token alone: in the last block the others matter as keys and
    values only. And on a processor with bf16 instructions, linear layers are laid out once as its
    kernels want them. Returns False, the tower being as it was, for any other tower, and where the
    features do not come out the same.
    """
    import torch

    kind = import_open_clip().transformer
    if type(visual) is not kind.VisionTransformer:
        return False
    blocks = visual.transformer.resblocks
    if not all(type(block) is kind.ResidualAttentionBlock for block in blocks):
        return False
    numbers = visual.proj if visual.proj is not None else visual.class_embedding
    chosen = blocks if _kernels_for(numbers) else blocks[-1:]
    height, width = visual.image_size
    random = torch.Generator().manual_seed(0)
    picture = torch.rand((1, 3, height, width), generator=random).to(numbers)
    # Blocks are all of a kind: two show whether the kind is the known one, at a sixth of the time.
    tried = torch.nn.ModuleList(dict.fromkeys([chosen[0], blocks[-1]]))
    visual.transformer.resblocks = tried
    expected = visual(picture)
    try:
        for block in tried:
            block.forward = _Block(block, only_first=block is blocks[-1])
        found = visual(picture)
        share = TOLERANCE if numbers.dtype == torch.float32 else HALF_TOLERANCE
        difference = (found.float() - expected.float()).abs().max()
        # In this order a number that is none, which compares as false, counts as different.
        is_same = bool(difference <= share * expected.abs().max())
    except Exception:  # noqa: BLE001 - an open_clip that is built otherwise may fail anywhere
        is_same = False
    visual.transformer.resblocks = blocks
    if not is_same:
        for block in tried:
            vars(block).pop("forward", None)
        return False
    for block in chosen:
        if "forward" not in vars(block):
            block.forward = _Block(block, only_first=False)
        # Laid out, its numbers are there twice. One block at a time, so never those of all.
        block.attn = block.mlp = None
    return True


class _Block:
    """The `forward` of an open_clip ResidualAttentionBlock, for tokens (N, T, C)."""

    def __init__(self, block: Any, *, only_first: bool) -> None:
        import torch

        attention, mlp = block.attn, block.mlp
        is_gelu = type(mlp.gelu) is torch.nn.GELU and mlp.gelu.approximate == "none"
        self.only_first, self.head_count = only_first, attention.num_heads
        self.norm_1, self.scale_1 = block.ln_1, block.ls_1
        self.norm_2, self.scale_2 = block.ln_2, block.ls_2
        self.query_key_value = lay_out(attention.in_proj_weight, attention.in_proj_bias)
        self.project = lay_out(attention.out_proj.weight, attention.out_proj.bias)
        self.widen = lay_out(mlp.c_fc.weight, mlp.c_fc.bias, gelu=is_gelu)
        self.activate = torch.nn.Identity() if is_gelu else mlp.gelu
        self.narrow = lay_out(mlp.c_proj.weight, mlp.c_proj.bias)

    def __call__(self, tokens: Tensor, attn_mask: None = None) -> Tensor:
        import torch

        parts = self.query_key_value(self.norm_1(tokens))
        parts = parts.view(*parts.shape[:2], 3, self.head_count, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind()
        if self.only_first:
            tokens, query = tokens[:, :1], query[:, :, :1]
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask)
        tokens = tokens + self.scale_1(self.project(mixed.transpose(1, 2).flatten(2)))
        wide = self.activate(self.widen(self.norm_2(tokens)))
        result: Tensor = tokens + self.scale_2(self.narrow(wide))
        return result


def lay_out(
    weight: Tensor, bias: Tensor | None, *, gelu: bool = False
) -> Callable[[Tensor], Tensor]:
    """What maps (..., K) to (..., N) by a weight (N, K) and a bias (N), then GELU if wanted.

    Given plain weights, oneDNN brings them into a layout of its own at every call.
    """
    import torch

    kernels = _kernels_for(weight)
    if kernels is not None:
        laid_out = kernels._reorder_linear_weight(weight.detach().contiguous())  # noqa: SLF001
        after: tuple[str, list[float], str] = ("gelu", [], "none") if gelu else ("none", [], "")
        return lambda rows: kernels._linear_pointwise(rows, laid_out, bias, *after)  # noqa: SLF001
    linear = functools.partial(torch.nn.functional.linear, weight=weight, bias=bias)
    return (lambda rows: torch.nn.functional.gelu(linear(rows))) if gelu else linear


def _kernels_for(weight: Tensor) -> Any:
    """Return oneDNN's operators; None where numbers, processor or this build of torch are others.

    They are those that PyTorch's compiler uses, whose import takes longer than many a scan.
    """
    import torch

    kernels = torch.ops.mkldnn
    needed = ("_reorder_linear_weight", "_linear_pointwise")
    if weight.device.type != "cpu" or weight.dtype != torch.bfloat16 or not has_native_bf16():
        return None
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return kernels if there and all(hasattr(kernels, name) for name in needed) else None
