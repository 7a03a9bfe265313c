"""Linear-attention operators: the equation (`reference`), PyTorch (`chunked`), Triton (`fused`); one contract."""

from lindoc.kernels.delta_rule import delta_rule
from lindoc.kernels.gated_delta_rule import gated_delta_rule
from lindoc.kernels.gla import gla
from lindoc.kernels.linear_attention import linear_attention
from lindoc.kernels.rwkv6 import rwkv6
from lindoc.kernels.rwkv7 import rwkv7
from lindoc.kernels.selective_scan import selective_scan
from lindoc.kernels.simple_gla import simple_gla
from lindoc.kernels.window_memory import window_memory
from lindoc.kernels.wkv4 import wkv4

__all__ = [
    "delta_rule",
    "gated_delta_rule",
    "gla",
    "linear_attention",
    "rwkv6",
    "rwkv7",
    "selective_scan",
    "simple_gla",
    "window_memory",
    "wkv4",
]
