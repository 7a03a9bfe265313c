"""The window memory as a few matrix products: all windows of a call at once, on any device, differentiable.

Same contract as `reference.window_memory`. The decay between windows is one (N, N) matrix a head, so cost grows with
the square of the windows in one call; a stream bounds them by its block size. What a window writes and reads is one
product a window on the CPU; on a GPU all windows go through one batched product, spread to the longest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from lindoc.kernels.window_memory.reference import EPSILON


class _SpreadTokens(torch.autograd.Function):
    """Packed tokens (T, F) -> padded windows (N·L, F); the backward is a gather, never an atomic add."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slot: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(slot)
        return x.new_zeros(size, x.shape[1]).index_copy_(0, slot, x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _CollectTokens(torch.autograd.Function):
    """Padded windows (N·L, F) -> packed tokens (T, F), the inverse of _SpreadTokens."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(slot)
        ctx.size = x.shape[0]
        return x.index_select(0, slot)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad.new_zeros(ctx.size, grad.shape[1]).index_copy_(0, ctx.saved_tensors[0], grad), None


@dataclass(frozen=True, slots=True)
class _Looped:
    """Windows one after the other: few launches on the CPU, and no padding."""

    lengths: list[int]

    def write(self, weighted: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Σ β φ(k) vᵀ and Σ β φ(k) a window: (T, H, K), (T, H, V) -> (N, H, K, V), (N, H, K)."""
        pairs = [(k.permute(1, 2, 0), x.transpose(0, 1)) for k, x in self._split(weighted, v)]
        return torch.stack([k @ x for k, x in pairs]), torch.stack([k.sum(2) for k, _ in pairs])

    def read(self, q: torch.Tensor, s: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """φ(q) S / (φ(q)·z + ε): (T, H, K), (N, H, K, V), (N, H, K) -> (T, H, V)."""
        parts = []
        for n, (window,) in enumerate(self._split(q)):
            by_head = window.transpose(0, 1)  # (H, T_n, K)
            parts.append((by_head @ s[n] / (by_head @ z[n, :, :, None] + EPSILON)).transpose(0, 1))
        return torch.cat(parts)

    def _split(self, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        return zip(*(x.split(self.lengths) for x in tensors), strict=True)


@dataclass(frozen=True, slots=True)
class _Spread:
    """All windows at once, spread to the longest one: few launches on a GPU."""

    slot: torch.Tensor  # (T,) of each token in the spread windows
    n_window: int
    width: int  # tokens of the longest window

    def write(self, weighted: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Same contract as `_Looped.write`."""
        wide = self._spread(weighted)  # (N, H, L, K)
        dtype = torch.promote_types(v.dtype, torch.float32)
        return (wide.transpose(2, 3) @ self._spread(v)).to(dtype), wide.sum(2, dtype=dtype)

    def read(self, q: torch.Tensor, s: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Same contract as `_Looped.read`."""
        wide = self._spread(q)
        norm = wide.to(z.dtype) @ z[..., None] + EPSILON  # (N, H, L, 1)
        read = ((wide @ s.to(q.dtype)).to(z.dtype) / norm).to(q.dtype).transpose(1, 2)  # (N, L, H, V)
        packed: torch.Tensor = _CollectTokens.apply(  # type: ignore[no-untyped-call]
            read.reshape(self.n_window * self.width, -1), self.slot
        )
        return packed.view(len(packed), q.shape[1], -1)

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        wide: torch.Tensor = _SpreadTokens.apply(  # type: ignore[no-untyped-call]
            x.flatten(1), self.slot, self.n_window * self.width
        )
        return wide.view(self.n_window, self.width, x.shape[1], -1).transpose(1, 2)


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
    with torch.autocast(q.device.type, enabled=False):  # the sums over windows stay in fp32
        windows = _spread_windows(cu_seqlens, len(q), max_seqlen) if q.is_cuda else _Looped(cu_seqlens.diff().tolist())
        written = windows.write(k * beta[..., None].to(k.dtype), v)
        n_window = len(written[0])
        document = torch.repeat_interleave(
            torch.arange(len(cu_documents) - 1, device=q.device), cu_documents.diff().long(), output_size=n_window
        )
        order = torch.arange(n_window, device=q.device)
        log_decay = g.to(written[0].dtype)

        gap = order[:, None] - order[None, :] - 1  # windows between the read and the write
        decay = _decay(log_decay, gap, document[:, None] == document[None, :])  # (H, N, N)
        age = order - cu_documents.long()[document]  # windows of this call before each window
        initial: tuple[torch.Tensor | None, torch.Tensor | None]
        initial = (None, None) if initial_state is None else (initial_state[0][document], initial_state[1][document])
        s, z = (_faded(decay, log_decay, age, x, start) for x, start in zip(written, initial, strict=True))
        o = windows.read(q, s, z).to(v.dtype)
        if not output_final_state:
            return o, None
        after = cu_documents[1:].long()[:, None] - 1 - order[None, :]  # (D, N): windows after each write
        own = document[None, :] == torch.arange(len(after), device=q.device)[:, None]
        decay = _decay(log_decay, after, own)  # (H, D, N)
        count = cu_documents.diff()
        initial = initial_state or (None, None)
        final_s, final_z = (
            _faded(decay, log_decay, count, x, start) for x, start in zip(written, initial, strict=True)
        )
        return o, (final_s, final_z)


def _spread_windows(cu_seqlens: torch.Tensor, n_token: int, max_seqlen: int | None) -> _Spread:
    lengths = cu_seqlens.diff().long()
    n_window = len(lengths)
    width = int(lengths.max()) if max_seqlen is None else max_seqlen
    owner = torch.repeat_interleave(torch.arange(n_window, device=lengths.device), lengths, output_size=n_token)
    slot = torch.arange(n_token, device=lengths.device) - cu_seqlens.long()[owner] + owner * width
    return _Spread(slot, n_window, width)


def _decay(log_decay: torch.Tensor, gap: torch.Tensor, same_document: torch.Tensor) -> torch.Tensor:
    """λ^gap where a write precedes a read of its own document, else 0: (H,), (R, N) -> (H, R, N)."""
    return (log_decay[:, None, None] * gap.clamp(min=0)).exp() * ((gap >= 0) & same_document)


def _faded(
    decay: torch.Tensor, log_decay: torch.Tensor, age: torch.Tensor, written: torch.Tensor, initial: torch.Tensor | None
) -> torch.Tensor:
    """Σ decay · written, plus λ^age times the initial state: (H, R, N), (N, H, …) -> (R, H, …)."""
    total = torch.einsum("hrn,nhx->rhx", decay, written.flatten(2)).view(-1, *written.shape[1:])
    if initial is None:
        return total
    fade = (age[:, None] * log_decay).exp()  # (R, H)
    return total + fade.view(*fade.shape, *[1] * (written.dim() - 2)) * initial.to(total.dtype)
