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
    multiple: int = 1,
) -> tuple[torch.Tensor, State | None]:
    """Linear attention by an implementation of `simple_gla`, in fp32 if fp16: sums that nothing fades overflow it.

    `multiple` : the values with their one are filled up to a multiple of this
    """
    narrow, n_value, fill = v.dtype, v.shape[-1], -(v.shape[-1] + 1) % multiple
    if q.dtype == torch.float16:
        q, k, v = q.float(), k.float(), v.float()
    state = None if isinstance(initial_state, tuple) else initial_state
    if normalize:
        v = F.pad(F.pad(v, (0, 1), value=1.0), (0, fill))  # (B, T, H, V + 1 and more)
        if isinstance(initial_state, tuple):
            state = F.pad(torch.cat([initial_state[0], initial_state[1][..., None]], -1), (0, fill))
    o, final = simple_gla(
        q,
        k,
        v,
        torch.zeros(q.shape[:3], dtype=torch.float32, device=q.device),
        scale=scale,
        initial_state=state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
        output_dtype=state_dtype(q),
    )
    if not normalize:
        return o.to(narrow), final
    o = o[..., :n_value] / (o[..., n_value, None] + EPSILON)
    pair = None if final is None else (final[..., :n_value].contiguous(), final[..., n_value].contiguous())
    return o.to(narrow), pair
