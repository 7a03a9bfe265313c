"""The equation of RWKV-4's attention, one token after the other, in the precision of its inputs (fp64 for tests)."""

from __future__ import annotations

import torch

from lindoc.kernels.packing import sequences, starting_state

EMPTY = -1e38  # exponent of a state that has seen nothing


def wkv4(
    k: torch.Tensor,
    v: torch.Tensor,
    w: torch.Tensor,
    u: torch.Tensor,
    *,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """RWKV-4 [1], in every channel:

        o_t = (Σ_{s<t} exp((t−1−s) w + k_s) v_s + exp(u + k_t) v_t) / (the same sums without v)

    The sums are kept as p exp(m) and q exp(m), where m is the largest exponent so far.

    k, v : (B, T, C)
    w : (C,) log decay, at most 0 (minus the exponential of a checkpoint's `time_decay`)
    u : (C,) bonus of the token itself
    initial_state : p, q and m as (N, 3, C); None is empty, (0, 0, -1e38)
    cu_seqlens : (N + 1,) borders of the sequences packed in a batch of one

    Returns o (B, T, C) and, when asked for, the state after each sequence (N, 3, C). No gradient flows out of the
    m that is returned: it is a scale, and what it scales carries the gradient.

    [1] arXiv 2305.13048, appendix D.
    """
    spans = sequences(k, cu_seqlens)
    start = starting_sums(initial_state, v, len(spans))
    w, u = w.to(start.dtype), u.to(start.dtype)
    outputs, finals = [v.new_zeros(0, v.shape[2], dtype=start.dtype)], []
    for state, (row, tokens) in zip(start, spans, strict=True):
        for t in range(tokens.start, tokens.stop):
            k_t, v_t = k[row, t].to(start.dtype), v[row, t].to(start.dtype)
            p, q, _ = joined(state, one_token(u + k_t, v_t))
            outputs.append((p / q)[None])
            state = joined(faded(state, w), one_token(k_t, v_t))
        finals.append(state)
    o = torch.cat(outputs).view_as(v).to(v.dtype)
    return o, torch.stack(finals) if output_final_state else None


def starting_sums(initial_state: torch.Tensor | None, like: torch.Tensor, n_sequence: int) -> torch.Tensor:
    """The initial state (N, 3, C) in the precision of sums over `like` (B, T, C)."""
    start = starting_state(initial_state, like, n_sequence, 3, like.shape[2])
    if initial_state is None:
        start[:, 2] = EMPTY
    return start


def one_token(k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """The sums over one token: (…, C) -> (…, 3, C)."""
    return torch.stack([v, torch.ones_like(v), k], -2)


def faded(sums: torch.Tensor, log_decay: torch.Tensor) -> torch.Tensor:
    """The sums some time later: (…, 3, C), (…, C)."""
    p, q, m = sums.unbind(-2)
    return torch.stack([p, q, m + log_decay], -2)


def joined(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """The sums over two sets of tokens: (…, 3, C)."""
    (p, q, m), (p_other, q_other, m_other) = one.unbind(-2), other.unbind(-2)
    top = torch.maximum(m, m_other).detach()
    share, share_other = (m - top).exp(), (m_other - top).exp()
    return torch.stack([share * p + share_other * p_other, share * q + share_other * q_other, top], -2)
