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
import torch.nn.functional as F

from lindoc.kernels.window_memory.reference import EPSILON


class _SpreadTokens(torch.autograd.Function):
    """Packed rows (R, F) -> spread rows, zero between; the backward is a gather, never an atomic add."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, slot: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(slot)
        return x.new_zeros(size, x.shape[1]).index_copy_(0, slot, x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grad.index_select(0, ctx.saved_tensors[0]), None, None


class _CollectTokens(torch.autograd.Function):
    """Spread rows -> packed rows (R, F), the inverse of _SpreadTokens."""

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

    def write(self, weighted: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Σ β φ(k) vᵀ a window: (T, H, K), (T, H, V) -> (N, H, K, V)."""
        return torch.stack([k.permute(1, 2, 0) @ x.transpose(0, 1) for k, x in self._split(weighted, v)])

    def read(self, q: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """φ(q) S: (T, H, K), (N, H, K, V) -> (T, H, V)."""
        windows = zip(states, self._split(q), strict=True)
        return torch.cat([(window.transpose(0, 1) @ s).transpose(0, 1) for s, (window,) in windows])

    def _split(self, *tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
        return zip(*(x.split(self.lengths) for x in tensors), strict=True)


@dataclass(frozen=True, slots=True)
class _Spread:
    """All windows at once, spread to the longest one: few launches on a GPU."""

    owner: torch.Tensor  # (T,) window of each token
    slot: torch.Tensor  # (T·H,) row of each token and head in the spread windows
    n_window: int
    width: int  # tokens of the longest window

    def write(self, weighted: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Same contract as `_Looped.write`."""
        written = self._spread(weighted).transpose(2, 3) @ self._spread(v)
        return written.to(torch.promote_types(v.dtype, torch.float32))

    def read(self, q: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
        """Same contract as `_Looped.read`; scaled in between, since a long document's sums overflow fp16."""
        scale = torch.linalg.vector_norm(states.detach(), ord=torch.inf, dim=(2, 3)).clamp(min=1)  # (N, H)
        wide = self._spread(q) @ (states / scale[..., None, None]).to(q.dtype)  # (N, H, L, V)
        packed: torch.Tensor = _CollectTokens.apply(  # type: ignore[no-untyped-call]
            wide.view(-1, wide.shape[-1]), self.slot
        )
        read: torch.Tensor = packed.view(*q.shape[:2], -1) * scale[self.owner][..., None]
        return read

    def _spread(self, x: torch.Tensor) -> torch.Tensor:
        """(T, H, F) -> (N, H, L, F), zero where a window is shorter."""
        wide: torch.Tensor = _SpreadTokens.apply(  # type: ignore[no-untyped-call]
            x.reshape(-1, x.shape[-1]), self.slot, self.n_window * x.shape[1] * self.width
        )
        return wide.view(self.n_window, x.shape[1], self.width, -1)


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
        n_value = v.shape[-1]
        windows = _spread_windows(cu_seqlens, q.shape[0], q.shape[1], max_seqlen) if q.is_cuda else _looped(cu_seqlens)
        written = windows.write(k * beta[..., None].to(k.dtype), _with_one(v))
        n_window = len(written)
        document = torch.repeat_interleave(
            torch.arange(len(cu_documents) - 1, device=q.device), cu_documents.diff().long(), output_size=n_window
        )
        order = torch.arange(n_window, device=q.device)
        log_decay = g.to(written.dtype)
        start = None if initial_state is None else _joined(*initial_state, written)

        gap = order[:, None] - order[None, :] - 1  # windows between the read and the write
        decay = _decay(log_decay, gap, document[:, None] == document[None, :])  # (H, N, N)
        age = order - cu_documents.long()[document]  # windows of this call before each window
        states = _faded(decay, log_decay, age, written, None if start is None else start[document])
        read = windows.read(q, states).to(written.dtype)
        o = (read[..., :n_value] / (read[..., n_value, None] + EPSILON)).to(v.dtype)
        if not output_final_state:
            return o, None
        after = cu_documents[1:].long()[:, None] - 1 - order[None, :]  # (D, N): windows after each write
        own = document[None, :] == torch.arange(len(after), device=q.device)[:, None]
        decay = _decay(log_decay, after, own)  # (H, D, N)
        final = _faded(decay, log_decay, cu_documents.diff(), written, start)
        return o, (final[..., :n_value].contiguous(), final[..., n_value].contiguous())


def _with_one(v: torch.Tensor) -> torch.Tensor:
    """(T, H, V) -> (T, H, V + 1 and more): z is the state of a value that is always one. CUDA wants multiples of 8."""
    more = -(v.shape[-1] + 1) % 8 if v.is_cuda else 0
    return F.pad(F.pad(v, (0, 1), value=1.0), (0, more))


def _joined(s: torch.Tensor, z: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """S (D, H, K, V) and z (D, H, K) as one state of the width and precision of `like`."""
    joined = torch.cat([s, z[..., None]], -1).to(like.dtype)
    return F.pad(joined, (0, like.shape[-1] - joined.shape[-1]))


def _looped(cu_seqlens: torch.Tensor) -> _Looped:
    return _Looped(cu_seqlens.diff().tolist())


def _spread_windows(cu_seqlens: torch.Tensor, n_token: int, n_head: int, max_seqlen: int | None) -> _Spread:
    lengths = cu_seqlens.diff().long()
    n_window, device = len(lengths), lengths.device
    width = int(lengths.max()) if max_seqlen is None else max_seqlen
    owner = torch.repeat_interleave(torch.arange(n_window, device=device), lengths, output_size=n_token)
    position = torch.arange(n_token, device=device) - cu_seqlens.long()[owner]
    row = owner[:, None] * n_head + torch.arange(n_head, device=device)  # (T, H)
    return _Spread(owner, (row * width + position[:, None]).flatten(), n_window, width)


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
