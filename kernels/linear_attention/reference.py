"""The equation of linear attention, one token after the other (fp64 for tests)."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import sequences, starting_state, state_dtype

EPSILON = 1e-10  # an output whose features are all zero is zero


def linear_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    scale: float,
    normalize: bool = True,
    initial_state: torch.Tensor | tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | tuple[torch.Tensor, torch.Tensor] | None]:
    """Causal linear attention [1] over features of q and k; φ is already applied.

        S_t = S_{t-1} + φ(k_t) v_tᵀ
        z_t = z_{t-1} + φ(k_t)
        o_t = scale · S_tᵀ φ(q_t)                                        not normalised
        o_t = scale · S_tᵀ φ(q_t) / (scale · z_t · φ(q_t) + ε)           normalised

    q, k : (B, T, H, K) features
    v : (B, T, H, V)
    initial_state : S (N, H, K, V), and with `normalize` the pair of S and z (N, H, K); None is zeros
    cu_seqlens : (N + 1,) token borders of the sequences packed into the only row; None: each row is one

    Returns o (B, T, H, V) in the dtype of v and, when asked for, the state (S, or S and z) after each sequence.

    [1] arXiv 2006.16236, sections 3.3 and 3.4.
    """
    dtype = state_dtype(q)
    parts = sequences(q, cu_seqlens)
    first_s, first_z = initial_state if isinstance(initial_state, tuple) else (initial_state, None)
    initial_s = starting_state(first_s, q, len(parts), *q.shape[2:], v.shape[-1])
    initial_z = starting_state(first_z, q, len(parts), *q.shape[2:])
    wide = [x.to(dtype) for x in (q, k, v)]
    outputs, final_s, final_z = [], [], []
    for (row, tokens), s, z in zip(parts, initial_s, initial_z, strict=True):  # (H, K, V), (H, K)
        for t in range(tokens.start, tokens.stop):
            q_t, k_t, v_t = (x[row, t] for x in wide)
            s, z = s + k_t[:, :, None] * v_t[:, None, :], z + k_t
            read = scale * torch.einsum("hk,hkv->hv", q_t, s)
            norm = scale * (q_t * z).sum(-1, keepdim=True) + EPSILON
            outputs.append(read / norm if normalize else read)
        final_s.append(s)
        final_z.append(z)
    o = torch.stack(outputs).view(v.shape).to(v.dtype)
    if not output_final_state:
        return o, None
    return o, (torch.stack(final_s), torch.stack(final_z)) if normalize else torch.stack(final_s)
