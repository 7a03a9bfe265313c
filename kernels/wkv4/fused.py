"""WKV-4 in Triton, forward and backward; same contract as `reference.wkv4`.

A program scans one chunk of some channels at once. A first pass sums every chunk up by itself, `_join` passes the sums
from chunk to chunk, and a second pass starts from them. The backward does the same from the other end: gradients, too,
are kept as x exp(m) and y exp(m), because those of a small sum are large.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import Plan, plan, put_rows, rows
from lindoc.kernels.wkv4.reference import EMPTY, starting_sums

CHUNK = 32  # tokens
BLOCK = 64  # channels of one program


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
    """Same contract as `reference.wkv4`."""
    # `plan` halves the chunks of fp32; here everything is summed in fp32 whatever the inputs
    cut = plan(k[..., None], k[..., None], cu_seqlens, CHUNK * (2 if k.dtype == torch.float32 else 1))
    start = starting_sums(initial_state, v, cut.n_sequence)
    o, final = _WKV4.apply(k, v, w.to(start.dtype), u.to(start.dtype), start, cut)
    return o.to(v.dtype), final if output_final_state else None


class _WKV4(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, k: torch.Tensor, v: torch.Tensor, w: torch.Tensor, u: torch.Tensor, start: torch.Tensor, cut: Plan
    ) -> tuple[torch.Tensor, torch.Tensor]:
        k, v, w, u, start = (x.contiguous() for x in (k, v, w, u, start))
        grid, tail = _layout(cut, k.shape[2])
        before = torch.empty(grid[0], 3, k.shape[2], dtype=torch.float32, device=k.device)
        _written[grid](k, v, w, before, **tail)
        final = _joined(before, w, start, cut, REVERSE=False)
        o, size = (torch.empty(k.shape, dtype=torch.float32, device=k.device) for _ in range(2))
        _read[grid](k, v, w, u, before, o, size, **tail)
        ctx.save_for_backward(k, v, w, u, before, o, size, start, final)
        ctx.cut = cut
        return o, final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_o: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        k, v, w, u, before, o, size, start, final = ctx.saved_tensors
        grid, tail = _layout(ctx.cut, k.shape[2])
        d_o, after = d_o.contiguous(), torch.empty_like(before)
        _written_back[grid](w, o, size, d_o, after, **tail)
        edge = torch.stack([d_final[:, 0], d_final[:, 1], -final[:, 2]], 1)
        d_first = _joined(after, w, edge, ctx.cut, REVERSE=True)
        d_k, d_v = torch.empty_like(k), torch.empty_like(v)
        d_w, d_u = (torch.empty(grid[0], k.shape[2], dtype=torch.float32, device=k.device) for _ in range(2))
        _gradients[grid](k, v, w, u, before, after, o, size, d_o, d_k, d_v, d_w, d_u, **tail)
        x, y = (d_first[:, :2] * (d_first[:, 2:] + start[:, 2:]).exp()).unbind(1)
        empty = (ctx.cut.chunks.borders.diff() == 0)[:, None]  # such a sequence returns its initial state as it is
        d_m = torch.where(empty, d_final[:, 2], x * start[:, 0] + y * start[:, 1])
        d_start = torch.stack([x, y, d_m], 1)
        return d_k, d_v, d_w.sum(0), d_u.sum(0), d_start, None


def _layout(cut: Plan, n_channel: int) -> tuple[tuple[int, int], dict[str, Any]]:
    """Programs (chunks, blocks of channels), and what all kernels take last."""
    block = min(BLOCK, triton.next_power_of_2(n_channel))
    chunks = {"chunk_first": cut.chunks.first, "chunk_end": cut.chunks.end}
    tail = {**chunks, "N": n_channel, "L": cut.constants["C"], "BC": block, "EMPTY": EMPTY}
    return (len(cut.chunks.first), triton.cdiv(n_channel, block)), tail


def _joined(sums: torch.Tensor, w: torch.Tensor, edge: torch.Tensor, cut: Plan, REVERSE: bool) -> torch.Tensor:
    """Turn the sums over each chunk into those before it (REVERSE: after it) in place; the last ones are returned."""
    final = torch.empty_like(edge)
    block = min(BLOCK, triton.next_power_of_2(w.shape[0]))
    _join[(cut.n_sequence, triton.cdiv(w.shape[0], block))](
        sums, w, edge, final, cut.chunks.borders, cut.chunks.first, cut.chunks.end, w.shape[0],
        BC=block, REVERSE=REVERSE, num_warps=1,
    )  # fmt: skip
    return final


@triton.jit
def _then(fade, x, y, m, next_fade, next_x, next_y, next_m):
    """x exp(m) and y exp(m), faded by what comes next, and added to it."""
    m += next_fade
    top = tl.maximum(m, next_m)
    share, next_share = tl.exp(m - top), tl.exp(next_m - top)
    return fade + next_fade, x * share + next_x * next_share, y * share + next_y * next_share, top


@triton.jit
def _load(sums, place, c, N):
    """x, y and m of (…, 3, N): [BC] each."""
    at = sums + place.to(tl.int64) * 3 * N + c
    return tl.load(at, c < N, other=0), tl.load(at + N, c < N, other=0), tl.load(at + 2 * N, c < N, other=0)


@triton.jit
def _store(sums, place, c, N, x, y, m):
    at = sums + place.to(tl.int64) * 3 * N + c
    tl.store(at, x, c < N)
    tl.store(at + N, y, c < N)
    tl.store(at + 2 * N, m, c < N)


@triton.jit
def _tokens(k, v, w, t, valid, end, c, N, EMPTY: tl.constexpr):
    """The tokens t where valid, else nothing: fade, x, y, m [L, BC]."""
    one = tl.where(valid[:, None], 1.0, 0.0) + tl.zeros_like(c)[None, :]
    m = tl.where(valid[:, None], rows(k, t, end, 0, 1, c, N).to(tl.float32), EMPTY)
    return one * tl.load(w + c, c < N, other=0)[None, :], one * rows(v, t, end, 0, 1, c, N), one, m


@triton.jit
def _reads_back(w, o, size, d_o, t, valid, end, c, N, EMPTY: tl.constexpr):
    """Gradients that the sums before the tokens t get from their outputs, where valid: fade, x, y, m [L, BC]."""
    one = tl.where(valid[:, None], 1.0, 0.0) + tl.zeros_like(c)[None, :]
    x = one * rows(d_o, t, end, 0, 1, c, N)
    m = tl.where(valid[:, None], -rows(size, t, end, 0, 1, c, N), EMPTY)
    return one * tl.load(w + c, c < N, other=0)[None, :], x, -x * rows(o, t, end, 0, 1, c, N), m


@triton.jit
def _pick(x, here):
    """The row of x [L, BC] that is here: [BC]."""
    return tl.sum(tl.where(here[:, None], x, 0.0), 0)


@triton.jit
def _written(
    k, v, w, sums, chunk_first, chunk_end, N, L: tl.constexpr, BC: tl.constexpr, EMPTY: tl.constexpr
):  # fmt: skip
    chunk, c, i = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC), tl.arange(0, L)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    t = first + i
    fade, x, y, m = _tokens(k, v, w, t, t < end, end, c, N, EMPTY)
    _, x, y, m = tl.associative_scan((fade, x, y, m), 0, _then)
    _store(sums, chunk, c, N, _pick(x, i == L - 1), _pick(y, i == L - 1), _pick(m, i == L - 1))


@triton.jit
def _join(
    sums, w, edge, final, borders, chunk_first, chunk_end, N, BC: tl.constexpr, REVERSE: tl.constexpr
):  # fmt: skip
    sequence, c = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC)
    b_w = tl.load(w + c, c < N, other=0)
    x, y, m = _load(edge, sequence, c, N)
    start, stop = tl.load(borders + sequence), tl.load(borders + sequence + 1)
    for i in range(stop - start):
        chunk = stop - 1 - i if REVERSE else start + i
        own_x, own_y, own_m = _load(sums, chunk, c, N)
        _store(sums, chunk, c, N, x, y, m)
        fade = b_w * (tl.load(chunk_end + chunk) - tl.load(chunk_first + chunk)).to(tl.float32)
        _, x, y, m = _then(fade, x, y, m, fade, own_x, own_y, own_m)
    _store(final, sequence, c, N, x, y, m)


@triton.jit
def _sums_before(k, v, w, sums, chunk, i, first, end, c, N, EMPTY: tl.constexpr):
    """The sums before each token of a chunk: x, y, m [L, BC]. They come in the place of a token before the first."""
    t = first + i
    fade, x, y, m = _tokens(k, v, w, t - 1, (i > 0) & (t < end), end, c, N, EMPTY)
    start_x, start_y, start_m = _load(sums, chunk, c, N)
    is_start = (i == 0)[:, None]
    x, y = tl.where(is_start, start_x[None, :], x), tl.where(is_start, start_y[None, :], y)
    _, x, y, m = tl.associative_scan((fade, x, y, tl.where(is_start, start_m[None, :], m)), 0, _then)
    return x, y, m


@triton.jit
def _read(
    k, v, w, u, sums, o, size, chunk_first, chunk_end, N, L: tl.constexpr, BC: tl.constexpr, EMPTY: tl.constexpr
):  # fmt: skip
    """Outputs, and the logarithm of what they are divided by."""
    chunk, c, i = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC), tl.arange(0, L)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    t = first + i
    x, y, m = _sums_before(k, v, w, sums, chunk, i, first, end, c, N, EMPTY)
    fade, own_x, own_y, own_m = _tokens(k, v, w, t, t < end, end, c, N, EMPTY)
    own_m += tl.load(u + c, c < N, other=0)[None, :]
    _, x, y, m = _then(fade, x, y, m, tl.zeros_like(m), own_x, own_y, own_m)
    y = tl.where((t < end)[:, None], y, 1.0)
    put_rows(o, t, end, 0, 1, c, N, x / y)
    put_rows(size, t, end, 0, 1, c, N, m + tl.log(y))


@triton.jit
def _written_back(
    w, o, size, d_o, d_sums, chunk_first, chunk_end, N, L: tl.constexpr, BC: tl.constexpr, EMPTY: tl.constexpr
):  # fmt: skip
    chunk, c, i = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC), tl.arange(0, L)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    t = first + i
    fade, x, y, m = _reads_back(w, o, size, d_o, t, t < end, end, c, N, EMPTY)
    _, x, y, m = tl.associative_scan((fade, x, y, m), 0, _then, reverse=True)
    _store(d_sums, chunk, c, N, _pick(x, i == 0), _pick(y, i == 0), _pick(m, i == 0))


@triton.jit
def _gradients(
    k, v, w, u, sums, d_sums, o, size, d_o, d_k, d_v, d_w, d_u, chunk_first, chunk_end, N,
    L: tl.constexpr, BC: tl.constexpr, EMPTY: tl.constexpr,
):  # fmt: skip
    chunk, c, i = tl.program_id(0), tl.program_id(1) * BC + tl.arange(0, BC), tl.arange(0, L)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    t = first + i
    fade, x, y, m = _reads_back(w, o, size, d_o, t + 1, t + 1 < end, end, c, N, EMPTY)
    end_x, end_y, end_m = _load(d_sums, chunk, c, N)
    is_end = (t == end - 1)[:, None]
    x, y = tl.where(is_end, end_x[None, :], x), tl.where(is_end, end_y[None, :], y)
    _, x, y, m = tl.associative_scan(
        (fade, x, y, tl.where(is_end, end_m[None, :], m)), 0, _then, reverse=True
    )  # of the sums after each token
    b_k, b_v, b_do = rows(k, t, end, 0, 1, c, N), rows(v, t, end, 0, 1, c, N), rows(d_o, t, end, 0, 1, c, N)
    by_itself = b_do * tl.exp(tl.load(u + c, c < N, other=0)[None, :] + b_k - rows(size, t, end, 0, 1, c, N))
    by_later = tl.exp(m + b_k)
    b_du = by_itself * (b_v - rows(o, t, end, 0, 1, c, N))
    put_rows(d_v, t, end, 0, 1, c, N, by_itself + by_later * x)
    put_rows(d_k, t, end, 0, 1, c, N, b_du + by_later * (x * b_v + y))
    old_x, old_y, old_m = _sums_before(k, v, w, sums, chunk, i, first, end, c, N, EMPTY)
    b_w = tl.load(w + c, c < N, other=0)
    b_dw = tl.exp(m + old_m + b_w[None, :]) * (x * old_x + y * old_y)
    inside = (t < end)[:, None]
    tl.store(d_w + chunk * N + c, tl.sum(tl.where(inside, b_dw, 0.0), 0), c < N)
    tl.store(d_u + chunk * N + c, tl.sum(tl.where(inside, b_du, 0.0), 0), c < N)
