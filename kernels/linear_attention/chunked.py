"""Linear attention as a scalar decay of nothing; the normaliser is the state of a value that is always one."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from lindoc.kernels.linear_attention.reference import EPSILON
from lindoc.kernels.packing import state_dtype
from lindoc.kernels.simple_gla import chunked

State = torch.Tensor | tuple[torch.Tensor, torch.Tensor]  # S (N, H, K, V), or S and z (N, H, K)


def linear_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    normalize: bool = True,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, State | None]:
    """Same contract as `reference.linear_attention`."""
    return through(chunked.simple_gla, q, k, v, scale, normalize, initial_state, output_final_state, cu_seqlens)


def through(
    simple_gla: Callable[..., tuple[torch.Tensor, torch.Tensor | None]],
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    scale: float,
    normalize: bool,
    initial_state: State | None,
    output_final_state: bool,
    cu_seqlens: torch.Tensor | None,
) -> tuple[torch.Tensor, State | None]:
    """Linear attention by an implementation of `simple_gla`, read in fp32: sums of a long fp16 text overflow fp16."""
    wide = v.to(state_dtype(v))
    if normalize:
        wide = F.pad(wide, (0, 1), value=1.0)  # (B, T, H, V + 1)
    state = (
        torch.cat([initial_state[0], initial_state[1][..., None]], -1)
        if isinstance(initial_state, tuple)
        else initial_state
    )
    none = torch.zeros(q.shape[:3], dtype=wide.dtype, device=q.device)
    o, final = simple_gla(
        q, k, wide, none, scale=scale, initial_state=state, output_final_state=output_final_state, cu_seqlens=cu_seqlens
    )
    if not normalize:
        return o.to(v.dtype), final
    n_value = v.shape[-1]
    o = o[..., :n_value] / (o[..., n_value:] + EPSILON)
    pair = None if final is None else (final[..., :n_value].contiguous(), final[..., n_value].contiguous())
    return o.to(v.dtype), pair


def _joined(s: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """S (N, H, K, V) and z (N, H, K) as one state (N, H, K, V + 1)."""
    return torch.cat([s, z[..., None]], -1)
