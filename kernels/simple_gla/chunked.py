"""Linear attention with a scalar decay, chunk by chunk: a masked product inside, a state between; differentiable."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import FORGOTTEN, chunks, starting_state, state_dtype

CHUNK = 64  # tokens


def simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    *,
    scale: float,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    output_dtype: torch.dtype | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.simple_gla`; every exponent is a sum of log decays, so at most 0.

    `output_dtype` : None is that of v
    """
    with torch.autocast(q.device.type, enabled=False):
        dtype = state_dtype(q)
        layout = chunks(q, cu_seqlens, CHUNK)
        initial = starting_state(initial_state, q, len(layout.longest_first), *q.shape[2:], v.shape[-1])
        wide_q, wide_k, wide_v = (layout.spread(x.to(dtype)) for x in (q, k, v))  # (n, H, C, K or V)
        log_decay = layout.spread(g.to(dtype).clamp(min=FORGOTTEN)).cumsum(-1)  # (n, H, C), since the chunk's start
        total = log_decay[..., -1:]  # (n, H, 1)

        written = (wide_k * (total - log_decay).exp()[..., None]).mT @ wide_v  # (n, H, K, V)
        before, final = layout.carry(
            initial, lambda s, fade, new: fade * s + new, total.exp()[..., None], written
        )  # (n, H, K, V), (N, H, K, V)
        later = torch.ones(layout.size, layout.size, dtype=torch.bool, device=q.device).triu(1)
        between = (log_decay[..., :, None] - log_decay[..., None, :]).masked_fill(later, -torch.inf)  # (n, H, C, C)
        inside = (wide_q @ wide_k.mT * between.exp()) @ wide_v
        o = inside + (wide_q * log_decay.exp()[..., None]) @ before  # (n, H, C, V)
        return layout.collect(scale * o).to(output_dtype or v.dtype), final if output_final_state else None
