"""A linear layer that was laid out once maps as a plain one does."""

from __future__ import annotations

import pytest
import torch

from guardian_cli.detectors.clip.linear import linear_of


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("rows", [(1, 24), (3, 7, 24)], ids=str)
def test_it_maps_as_a_plain_layer_does(
    rows: tuple[int, ...], dtype: torch.dtype, gelu: bool
) -> None:
    random = torch.Generator().manual_seed(5)
    inputs = torch.randn(rows, generator=random).to(dtype)
    weight = torch.randn(40, 24, generator=random).to(dtype)
    bias = torch.randn(40, generator=random).to(dtype)
    with torch.inference_mode():
        found = linear_of(weight, bias, gelu=gelu)(inputs)
        exact = torch.nn.functional.linear(inputs.double(), weight.double(), bias.double())
        expected = torch.nn.functional.gelu(exact) if gelu else exact
    assert found.shape == expected.shape
    assert found.dtype == dtype
    assert torch.allclose(found.double(), expected, rtol=2e-2, atol=1e-1)
