from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from guardian_cli.detectors.clip.hardware import (
    choose_device,
    choose_precision,
    name_hardware,
    processor_features,
)
from guardian_cli.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("device", "features", "precision"),
    [
        ("cpu", {"avx512f"}, "fp32"),
        ("cpu", set(), "fp32"),
        ("cpu", {"avx512f", "avx512_bf16"}, "bf16"),
        ("cpu", {"amx_bf16", "amx_tile"}, "bf16"),
        ("cuda", set(), "fp16"),
        ("mps", set(), "fp16"),
    ],
)
def test_auto_takes_what_the_hardware_computes_in(
    device: str, features: set[str], precision: str
) -> None:
    assert choose_precision("auto", device, features) == precision


def test_what_is_asked_for_is_taken() -> None:
    assert choose_precision("bf16", "cpu", set()) == "bf16"
    assert choose_device("cpu") == "cpu"


def test_a_device_that_is_not_there_is_an_error() -> None:
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for device, available in there.items():
        if not available:
            with pytest.raises(UsageError, match=f"{device} is not available"):
                choose_device(device)
    assert choose_device("auto") in {"cpu", *(name for name in there if there[name])}


def test_unknown_words_are_errors() -> None:
    with pytest.raises(UsageError, match="unknown device tpu"):
        choose_device("tpu")
    with pytest.raises(UsageError, match="unknown precision int8"):
        choose_precision("int8", "cpu")


def test_features_are_read_from_the_first_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu amx_bf16 avx\n\nflags : other\n")
    assert processor_features(cpuinfo) == {"fpu", "amx_bf16", "avx"}
    assert processor_features(tmp_path / "none") == frozenset()


def test_machines_with_other_processors_have_other_names() -> None:
    few, more = name_hardware("cpu", {"avx512f"}), name_hardware("cpu", {"avx512f", "amx_bf16"})
    assert few != more
    assert few == name_hardware("cpu", {"avx512f"})
    assert few != name_hardware("mps", {"avx512f"})
    assert name_hardware("cpu") == name_hardware("cpu", processor_features())
