"""The equation of the window memory, one window after the other, in the precision of its inputs (fp64 for tests)."""

from __future__ import annotations

from itertools import pairwise

import torch

EPSILON = 1e-3  # keeps the read of an empty or faded memory near zero


def window_memory(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    *,
    cu_seqlens: torch.Tensor,
    cu_documents: torch.Tensor,
    initial_state: tuple[torch.Tensor, torch.Tensor] | None = None,
    output_final_state: bool = False,
    max_seqlen: int | None = None,
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor] | None]:
    """Linear attention [1] whose state moves once a window, with slot-softmax feature maps [2]:

        o_t = φ(q_t) S_{n-1} / (φ(q_t)·z_{n-1} + ε)          for every token t of window n
        S_n = exp(g) S_{n-1} + Σ_{t in window n} β_t φ(k_t) v_tᵀ
        z_n = exp(g) z_{n-1} + Σ_{t in window n} β_t φ(k_t)

    q, k : (T, H, K) tokens of all windows, packed; φ is already applied
    v : (T, H, V)
    g : (H,) log decay a window
    beta : (T, H) write strength in [0, 1]
    cu_seqlens : (N + 1,) token borders of the windows
    cu_documents : (D + 1,) window borders of the documents
    initial_state : S (D, H, K, V) and z (D, H, K); None is empty
    max_seqlen : tokens of the longest window, not needed here

    Returns o (T, H, V) and, when asked for, the state after each document's last window.

    [1] arXiv 2006.16236, eq. 9; [2] arXiv 1812.01243, section 3.2.
    """
    n_head, key_dim = q.shape[1:]
    state_dtype = torch.promote_types(q.dtype, torch.float32)
    o = torch.zeros(*v.shape, dtype=v.dtype, device=v.device)
    tokens, documents = cu_seqlens.tolist(), cu_documents.tolist()
    final_s, final_z = [], []
    for d, (first, last) in enumerate(pairwise(documents)):
        if initial_state is None:
            s = torch.zeros(n_head, key_dim, v.shape[-1], dtype=state_dtype, device=q.device)
            z = torch.zeros(n_head, key_dim, dtype=state_dtype, device=q.device)
        else:
            s, z = initial_state[0][d].to(state_dtype), initial_state[1][d].to(state_dtype)
        for n in range(first, last):
            window = slice(tokens[n], tokens[n + 1])
            q_n, k_n, v_n = (x[window].to(state_dtype) for x in (q, k, v))
            weighted = k_n * beta[window].to(state_dtype)[..., None]  # (T_n, H, K)
            read = torch.einsum("thk,hkv->thv", q_n, s)
            norm = torch.einsum("thk,hk->th", q_n, z) + EPSILON
            o[window] = (read / norm[..., None]).to(v.dtype)
            decay = g.to(state_dtype).exp()
            s = decay[:, None, None] * s + torch.einsum("thk,thv->hkv", weighted, v_n)
            z = decay[:, None] * z + weighted.sum(0)
        final_s.append(s)
        final_z.append(z)
    return o, (torch.stack(final_s), torch.stack(final_z)) if output_final_state else None
