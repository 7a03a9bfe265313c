"""PackedLinear equals nn.Linear, whatever the number of rows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lindoc.kernels.packed_linear import NARROW, TILE, PackedLinear, pack_linears

needs_onednn = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="PyTorch without oneDNN")


@needs_onednn
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "plain"])
@pytest.mark.parametrize("rows", [1, TILE - 1, TILE, TILE + 1, 3 * TILE + 63])
def test_equals_linear(rows: int, bias: bool) -> None:
    torch.manual_seed(rows)
    linear = nn.Linear(96, 160, bias=bias).requires_grad_(False)
    x = torch.randn(rows, 96)
    torch.testing.assert_close(PackedLinear(linear)(x), linear(x), rtol=0, atol=1e-5)


@needs_onednn
def test_only_wide_layers_are_packed() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(8, NARROW)), nn.Linear(NARROW, 2)).requires_grad_(False)
    pack_linears(model)
    assert [type(module) for module in (model[0][0], model[1])] == [PackedLinear, nn.Linear]  # type: ignore[index]
