"""open_clip without those of its imports that a scan never uses; they take longer than the rest.

Two names do it: torchvision takes one function, for a box operation, from torch's compiler, and
open_clip tries for timm, whose models import the compiler too. So while these are imported, a
stand-in offers the compiler's names on demand, and timm is not to be found; a model that needs it
gets it.
"""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_COMPILER = "torch._dynamo"
_COMPILER_TOOLS = "torch._dynamo.utils"
_importing = threading.Lock()


class _OnDemand(ModuleType):
    """Stands in for the compiler's tools: functions of it that import the real ones when called."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            return getattr(importlib.import_module(_COMPILER_TOOLS), name)(*arguments, **options)

        return call


def import_open_clip() -> Any:
    """The open_clip package; timm may be missing from it (see `bring_timm`)."""
    with _importing:
        if "open_clip" not in sys.modules:
            with _uncollected():
                import torch  # noqa: F401 - all of it, before anything of it is stood in for

                with _left_out():
                    import open_clip  # noqa: F401
    return sys.modules["open_clip"]


def bring_timm() -> None:
    """Let open_clip have timm after all, for an image tower that comes from there."""
    import_open_clip()
    adapter = importlib.import_module("open_clip.timm_model")
    if adapter.timm is None:
        importlib.reload(adapter)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Look for no garbage: what is imported is none, and looking takes a seventh of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if before:
            gc.enable()


@contextmanager
def _left_out() -> Iterator[None]:
    stand_ins: dict[str, ModuleType | None] = {}
    if _COMPILER not in sys.modules:
        stand_ins[_COMPILER_TOOLS] = _OnDemand(_COMPILER_TOOLS)
    if "timm" not in sys.modules:
        stand_ins["timm"] = None  # what the import system takes for "not to be found"
    sys.modules.update(stand_ins)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name, stand_in) is stand_in:
                sys.modules.pop(name, None)
