"""The selective scan in Triton, forward and backward; same contract as `reference.selective_scan`.

A program scans one chunk of some channels at once. A first pass finds what each chunk adds to the state, `_join` passes
the states from chunk to chunk, and a second pass starts from them. The backward does the same from the other end, and
makes the states inside the chunks again. Softplus, skip and gate are PyTorch's.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import Plan, matrix, plan, put_matrix, put_rows, rows
from lindoc.kernels.packing import starting_state
from lindoc.kernels.selective_scan.reference import gated, step_size

CHUNK = 32  # tokens
TILE = 8192  # tokens · channels · states of one program


def selective_scan(
    u: torch.Tensor,
    delta: torch.Tensor,
    A: torch.Tensor,
    B: torch.Tensor,
    C: torch.Tensor,
    D: torch.Tensor | None = None,
    z: torch.Tensor | None = None,
    delta_bias: torch.Tensor | None = None,
    delta_softplus: bool = False,
    *,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.selective_scan`."""
    # `plan` halves the chunks of fp32; here everything is summed in fp32 whatever the inputs
    cut = plan(u[..., None], u[..., None], cu_seqlens, CHUNK * (2 if u.dtype == torch.float32 else 1))
    start = starting_state(initial_state, u, cut.n_sequence, *A.shape)
    step = step_size(delta.to(start.dtype), delta_bias, delta_softplus)
    y, final = _Scan.apply(u, step, A.to(start.dtype), B, C, start, cut)
    return gated(y, u, D, z), final if output_final_state else None


class _Scan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        u: torch.Tensor,
        step: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        c: torch.Tensor,
        start: torch.Tensor,
        cut: Plan,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        x = tuple(y.contiguous() for y in (u, step, a, b, c))
        grid, sizes, tables = _layout(cut, *a.shape)
        before = torch.empty(grid[0], *a.shape, dtype=torch.float32, device=u.device)
        total = torch.empty(grid[0], a.shape[0], dtype=torch.float32, device=u.device)
        _written[grid](*x[:4], before, total, *tables, *a.shape, **sizes)
        final = _joined(before, total, x[2], start, cut, REVERSE=False)
        y = torch.empty_like(step)
        _read[grid](*x, before, y, *tables, *a.shape, **sizes)
        ctx.save_for_backward(*x, before, total)
        ctx.cut = cut
        return y, final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_y: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        *x, before, total = ctx.saved_tensors
        u, step, a, b, c = x
        grid, sizes, tables = _layout(ctx.cut, *a.shape)
        d_y, after = d_y.contiguous(), torch.empty_like(before)
        _written_back[grid](step, a, c, d_y, after, *tables, *a.shape, **sizes)
        d_start = _joined(after, total, a, d_final, ctx.cut, REVERSE=True)
        d_u, d_step, d_a = torch.empty_like(u), torch.empty_like(step), torch.empty_like(before)
        d_b, d_c = (torch.empty(grid[1], *b.shape, dtype=torch.float32, device=u.device) for _ in range(2))
        _gradients[grid](
            *x, before, after, d_y, d_u, d_step, d_a, d_b, d_c, *tables, *a.shape, b.shape[:2].numel(), **sizes
        )
        return d_u, d_step, d_a.sum(0), d_b.sum(0).to(b.dtype), d_c.sum(0).to(c.dtype), d_start, None


def _layout(cut: Plan, n_channel: int, n_state: int) -> tuple[tuple[int, int], dict[str, int], tuple[Any, Any]]:
    """Programs (chunks, blocks of channels), sizes of their tiles, and where the chunks are."""
    width = triton.next_power_of_2(n_state)
    block = max(1, min(triton.next_power_of_2(n_channel), TILE // (cut.constants["C"] * width)))
    sizes = {"L": cut.constants["C"], "BD": block, "BN": width, "num_warps": 8}
    return (len(cut.chunks.first), triton.cdiv(n_channel, block)), sizes, (cut.chunks.first, cut.chunks.end)


def _joined(
    states: torch.Tensor, total: torch.Tensor, a: torch.Tensor, edge: torch.Tensor, cut: Plan, REVERSE: bool
) -> torch.Tensor:
    """Turn what each chunk adds into the state before it (REVERSE: after it) in place; the last states are returned."""
    edge = edge.contiguous()
    final = torch.empty_like(edge)
    block = min(16, triton.next_power_of_2(a.shape[0]))
    _join[(cut.n_sequence, triton.cdiv(a.shape[0], block))](
        states, total, a, edge, final, cut.chunks.borders, *a.shape,
        BD=block, BN=triton.next_power_of_2(a.shape[1]), REVERSE=REVERSE, num_warps=1,
    )  # fmt: skip
    return final


@triton.jit
def _after(decay, x, next_decay, next_x):
    return decay * next_decay, x * next_decay + next_x


@triton.jit
def _outer(x, y):
    """[L, BD], [L, BN] -> [L, BD, BN]."""
    return x[:, :, None] * y[:, None, :]


@triton.jit
def _states(u, step, a, b, t, end, d, D, n, N):
    """Decays since the chunk's start, states from zero, and what each token adds: [L, BD, BN]; the steps [L, BD]."""
    b_step = rows(step, t, end, 0, 1, d, D)
    inflow = _outer(b_step * rows(u, t, end, 0, 1, d, D), rows(b, t, end, 0, 1, n, N).to(tl.float32))
    decay = tl.exp(b_step[:, :, None] * rows(a, d, D, 0, 1, n, N)[None, :, :])
    decay, state = tl.associative_scan((decay, inflow), 0, _after)
    return decay, state, inflow, b_step


@triton.jit
def _states_back(step, a, c, d_y, t, end, d, D, n, N):
    """Decays up to the chunk's end, and gradients of the states if none comes from later chunks: [L, BD, BN]."""
    next_step = rows(step, t + 1, end, 0, 1, d, D)
    own = _outer(rows(d_y, t, end, 0, 1, d, D), rows(c, t, end, 0, 1, n, N).to(tl.float32))
    decay = tl.exp(next_step[:, :, None] * rows(a, d, D, 0, 1, n, N)[None, :, :])
    return tl.associative_scan((decay, own), 0, _after, reverse=True)


@triton.jit
def _written(
    u, step, a, b, added, total, chunk_first, chunk_end, D, N,
    L: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    chunk, d, n = tl.program_id(0), tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BN)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    i = tl.arange(0, L)
    _, state, _, b_step = _states(u, step, a, b, first + i, end, d, D, n, N)
    put_matrix(added, chunk, d, D, n, N, tl.sum(tl.where((i == L - 1)[:, None, None], state, 0.0), 0))
    tl.store(total + chunk * D + d, tl.sum(b_step, 0), d < D)


@triton.jit
def _join(
    states, total, a, edge, final, borders, D, N, BD: tl.constexpr, BN: tl.constexpr, REVERSE: tl.constexpr
):  # fmt: skip
    sequence, d, n = tl.program_id(0), tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BN)
    b_a = rows(a, d, D, 0, 1, n, N)
    state = matrix(edge, sequence, d, D, n, N)
    first, last = tl.load(borders + sequence), tl.load(borders + sequence + 1)
    for i in range(last - first):
        chunk = last - 1 - i if REVERSE else first + i
        own = matrix(states, chunk, d, D, n, N)
        put_matrix(states, chunk, d, D, n, N, state)
        state = tl.exp(tl.load(total + chunk * D + d, d < D, other=0)[:, None] * b_a) * state + own
    put_matrix(final, sequence, d, D, n, N, state)


@triton.jit
def _read(
    u, step, a, b, c, before, y, chunk_first, chunk_end, D, N,
    L: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    chunk, d, n = tl.program_id(0), tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BN)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    t = first + tl.arange(0, L)
    decay, state, _, _ = _states(u, step, a, b, t, end, d, D, n, N)
    state += decay * matrix(before, chunk, d, D, n, N)[None, :, :]
    put_rows(y, t, end, 0, 1, d, D, tl.sum(state * rows(c, t, end, 0, 1, n, N)[:, None, :], 2))


@triton.jit
def _written_back(
    step, a, c, d_y, d_before, chunk_first, chunk_end, D, N,
    L: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    chunk, d, n = tl.program_id(0), tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BN)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    i = tl.arange(0, L)
    _, d_state = _states_back(step, a, c, d_y, first + i, end, d, D, n, N)
    d_first = tl.sum(tl.where((i == 0)[:, None, None], d_state, 0.0), 0)
    decay = tl.exp(tl.load(step + first * D + d, d < D, other=0)[:, None] * rows(a, d, D, 0, 1, n, N))
    put_matrix(d_before, chunk, d, D, n, N, d_first * decay)


@triton.jit
def _gradients(
    u, step, a, b, c, before, after, d_y, d_u, d_step, d_a, d_b, d_c, chunk_first, chunk_end, D, N, n_token,
    L: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    chunk, d, n = tl.program_id(0), tl.program_id(1) * BD + tl.arange(0, BD), tl.arange(0, BN)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    t = first + tl.arange(0, L)
    decay, state, inflow, b_step = _states(u, step, a, b, t, end, d, D, n, N)
    state += decay * matrix(before, chunk, d, D, n, N)[None, :, :]
    decay, d_state = _states_back(step, a, c, d_y, t, end, d, D, n, N)
    d_state += decay * matrix(after, chunk, d, D, n, N)[None, :, :]
    b_u, d_inflow = rows(u, t, end, 0, 1, d, D), tl.sum(d_state * rows(b, t, end, 0, 1, n, N)[:, None, :], 2)
    d_log = d_state * (state - inflow)  # gradient of each token's log decay
    put_rows(d_u, t, end, 0, 1, d, D, b_step * d_inflow)
    b_dstep = b_u * d_inflow + tl.sum(d_log * rows(a, d, D, 0, 1, n, N)[None, :, :], 2)
    put_rows(d_step, t, end, 0, 1, d, D, b_dstep)
    put_matrix(d_a, chunk, d, D, n, N, tl.sum(d_log * b_step[:, :, None], 0))
    block = tl.program_id(1).to(tl.int64) * n_token * N
    put_rows(d_b + block, t, end, 0, 1, n, N, tl.sum(d_state * (b_step * b_u)[:, :, None], 1))
    put_rows(d_c + block, t, end, 0, 1, n, N, tl.sum(state * rows(d_y, t, end, 0, 1, d, D)[:, :, None], 1))
