"""Linear-attention operators: the equation (`reference`), PyTorch (`chunked`), Triton (`fused`); one contract."""

from lindoc.kernels.gla import gla
from lindoc.kernels.linear_attention import linear_attention
from lindoc.kernels.rwkv6 import rwkv6
from lindoc.kernels.simple_gla import simple_gla
from lindoc.kernels.window_memory import window_memory

__all__ = ["gla", "linear_attention", "rwkv6", "simple_gla", "window_memory"]
