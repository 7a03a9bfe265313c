"""The window memory as a few matrix products: all windows of a call at once, on any device, differentiable.

Same contract as `reference.window_memory`. The decay between windows is one (N, N) matrix a head, so cost grows with the
square of the windows in one call; a stream bounds them by its block size.
"""

from __future__ import annotations

from typing import Any

import torch

from lindoc.kernels.window_memory.reference import EPSILON


class _Spread(torch.autograd.Function):
    """Packed tokens (T, F) -> padded windows (N·L, F); the backward is a gather, never an atomic add."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slot: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(slot)
        return x.new_zeros(size, x.shape[1]).index_copy_(0, slot, x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _Collect(torch.autograd.Function):
    """Padded windows (N·L, F) -> packed tokens (T, F), the inverse of _Spread."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(slot)
        ctx.size = x.shape[0]
        return x.index_select(0, slot)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        return grad.new_zeros(ctx.size, grad.shape[1]).index_copy_(0, ctx.saved_tensors[0], grad), None


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
    """Same contract as `reference.window_memory`; `max_seqlen` (tokens) spares a device synchronisation."""
    n_token, n_head, key_dim = q.shape
    value_dim = v.shape[-1]
    state_dtype = torch.promote_types(q.dtype, torch.float32)
    lengths = cu_seqlens.diff().long()
    n_window = len(lengths)
    width = max_seqlen if max_seqlen is not None else int(lengths.max()) if n_window else 0
    window = torch.repeat_interleave(torch.arange(n_window, device=q.device), lengths, output_size=n_token)
    slot = torch.arange(n_token, device=q.device) - cu_seqlens.long()[window] + window * width  # (T,)

    def spread(x: torch.Tensor) -> torch.Tensor:
        padded: torch.Tensor = _Spread.apply(x.flatten(1), slot, n_window * width)
        return padded.view(n_window, width, n_head, -1).transpose(1, 2)  # (N, H, L, ·)

    weighted = spread((k * beta[..., None].to(k.dtype)))
    written_s = (weighted.transpose(2, 3) @ spread(v)).to(state_dtype)  # (N, H, K, V): β φ(k) vᵀ summed over the window
    written_z = weighted.sum(2, dtype=state_dtype)  # (N, H, K)

    document = torch.repeat_interleave(
        torch.arange(len(cu_documents) - 1, device=q.device), cu_documents.diff().long(), output_size=n_window
    )
    order = torch.arange(n_window, device=q.device)
    gap = order[:, None] - order[None, :] - 1  # windows between the read and the write
    before = (gap >= 0) & (document[:, None] == document[None, :])
    log_decay = g.to(state_dtype)[:, None, None] * gap.clamp(min=0)
    decay = log_decay.exp() * before  # (H, N, N)
    s = torch.einsum("hnm,mhx->nhx", decay, written_s.flatten(2)).unflatten(2, (key_dim, value_dim))
    z = torch.einsum("hnm,mhk->nhk", decay, written_z)
    if initial_state is not None:
        age = (order - cu_documents.long()[document]).to(state_dtype)  # windows of this call before each window
        fade = (age[:, None] * g.to(state_dtype)).exp()  # (N, H)
        s = s + fade[..., None, None] * initial_state[0].to(state_dtype)[document]
        z = z + fade[..., None] * initial_state[1].to(state_dtype)[document]

    padded_q = spread(q)  # (N, H, L, K)
    read = (padded_q @ s.to(q.dtype)).to(state_dtype)
    norm = padded_q.to(state_dtype) @ z[..., None] + EPSILON  # (N, H, L, 1)
    packed: torch.Tensor = _Collect.apply((read / norm).to(v.dtype).transpose(1, 2).reshape(n_window * width, -1), slot)
    o = packed.unflatten(1, (n_head, value_dim))
    if not output_final_state:
        return o, None
    final = cu_documents[1:].long()[:, None] - 1 - order[None, :]  # (D, N): windows after each write
    keep = (final >= 0) & (document[None, :] == torch.arange(len(final), device=q.device)[:, None])
    fade_out = (g.to(state_dtype)[:, None, None] * final.clamp(min=0)).exp() * keep  # (H, D, N)
    final_s = torch.einsum("hdn,nhx->dhx", fade_out, written_s.flatten(2)).unflatten(2, (key_dim, value_dim))
    final_z = torch.einsum("hdn,nhk->dhk", fade_out, written_z)
    if initial_state is not None:
        whole = (cu_documents.diff().to(state_dtype)[:, None] * g.to(state_dtype)).exp()  # (D, H)
        final_s = final_s + whole[..., None, None] * initial_state[0].to(state_dtype)
        final_z = final_z + whole[..., None] * initial_state[1].to(state_dtype)
    return o, (final_s, final_z)
