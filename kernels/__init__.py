"""Linear-attention operators: the equation (`reference`), PyTorch (`chunked`); same names, same contract."""

from lindoc.kernels.window_memory import window_memory

__all__ = ["window_memory"]
