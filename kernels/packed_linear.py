"""Linear layers for the CPU: the weight is laid out once as oneDNN wants it, which makes its products faster."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

TILE = 256  # rows of one product: oneDNN keeps memory for every number of rows it meets, so there is one only
NARROW = 64  # features from which a layout of its own pays


class PackedLinear(nn.Module):
    """x Wᵀ + b for rows x (T, D), for inference in fp32."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias
        self.packed = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), TILE)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x.new_empty(len(x), len(self.weight))
        whole = len(x) - len(x) % TILE
        for begin in range(0, whole, TILE):
            tile = x[begin : begin + TILE]
            out[begin : begin + TILE] = torch.ops.mkldnn._linear_pointwise(tile, self.packed, self.bias, "none", [], "")
        if whole < len(x):
            out[whole:] = F.linear(x[whole:], self.weight, self.bias)
        return out


def pack_linears(module: nn.Module) -> None:
    """Put a PackedLinear in the place of each wide nn.Linear inside `module`, where PyTorch has oneDNN."""
    if not torch.backends.mkldnn.is_available():
        return
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and child.out_features >= NARROW:
            setattr(module, name, PackedLinear(child))
        else:
            pack_linears(child)
