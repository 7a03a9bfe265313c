"""Read the state before a window, then write the window into it: the built-in encoder's memory across windows."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import Operator, chosen, lazy
from lindoc.kernels.window_memory import chunked, reference

__all__ = ["BACKENDS", "MemoryState", "window_memory"]

MemoryState = tuple[torch.Tensor, torch.Tensor]  # S (D, H, K, V) and z (D, H, K), fp32, one row per document

BACKENDS: dict[str, Operator] = {
    "reference": reference.window_memory,
    "chunked": chunked.window_memory,
    "triton": lazy("lindoc.kernels.window_memory.fused", "window_memory"),
}


def window_memory(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    *,
    cu_seqlens: torch.Tensor,
    cu_documents: torch.Tensor,
    initial_state: MemoryState | None = None,
    output_final_state: bool = False,
    max_seqlen: int | None = None,
    backend: str = "chunked",
) -> tuple[torch.Tensor, MemoryState | None]:
    """Normalised linear attention over everything before the window (equation in `reference.window_memory`).

    max_seqlen : tokens of the longest window; spares "chunked" a device synchronisation
    backend : "auto", "reference", "chunked" or "triton"
    """
    return chosen(BACKENDS, backend, q)(  # type: ignore[no-any-return]
        q,
        k,
        v,
        g,
        beta,
        cu_seqlens=cu_seqlens,
        cu_documents=cu_documents,
        initial_state=initial_state,
        output_final_state=output_final_state,
        max_seqlen=max_seqlen,
    )
