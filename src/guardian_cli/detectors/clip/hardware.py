"""Where CLIP runs and in which numbers."""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
DEVICES: tuple[str, ...] = get_args(Device)
PRECISIONS: tuple[str, ...] = get_args(Precision)


def choose_device(wanted: str) -> str:
    """`auto` takes the best there is. Raises UsageError for a device that is not there."""
    import torch

    if wanted not in DEVICES:
        raise UsageError(f"unknown device {wanted}: one of {', '.join(DEVICES)}")
    mps = torch.backends.mps.is_available()
    there = {"cuda": torch.cuda.is_available(), "mps": bool(mps), "cpu": True}
    if wanted == "auto":
        return next(name for name, is_there in there.items() if is_there)
    if not there[wanted]:
        raise UsageError(
            f"device {wanted} is not available on this machine", hint="leave --device at auto"
        )
    return wanted


def choose_precision(wanted: str, device: str, features: AbstractSet[str] | None = None) -> str:
    """`auto` takes half precision where the hardware computes in it, else fp32.

    `features` are the processor's, as Linux names them; None reads this machine's.
    """
    if wanted not in PRECISIONS:
        raise UsageError(f"unknown precision {wanted}: one of {', '.join(PRECISIONS)}")
    if wanted != "auto":
        return wanted
    if device in {"cuda", "mps"}:
        return "fp16"
    # A processor without such instructions emulates them, some five times slower than fp32.
    return "bf16" if has_native_bf16(features) else "fp32"


def has_native_bf16(features: AbstractSet[str] | None = None) -> bool:
    """Whether the processor, of these features or else this machine's, multiplies in bf16."""
    features = processor_features() if features is None else features
    return bool(features & {"amx_bf16", "avx512_bf16"})


def name_hardware(device: str, features: AbstractSet[str] | None = None) -> list[str]:
    """What computes on a device: which processor, or which GPU; `features` as above."""
    import torch

    if device == "cuda" and torch.cuda.is_available():
        return [device, torch.cuda.get_device_name()]
    features = processor_features() if features is None else features
    return [device, platform.machine(), *sorted(features)]


@functools.cache
def processor_features(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """The flags of the first processor; empty where the system does not tell (not Linux, Arm)."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return frozenset(flags.partition(":")[2].split())
