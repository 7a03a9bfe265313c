"""Triton kernels that the decaying operators share: sums of log decays, and the states at the borders of pieces.

Segments run side by side: each adds up what its own tokens write, `_join` passes the states from segment to segment,
and every segment then starts from its own.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from lindoc.kernels.packing import FORGOTTEN
from lindoc.kernels.plan import Plan, plan

__all__ = [
    "Plan",
    "chunk_states",
    "columns",
    "matrix",
    "matrix_t",
    "plan",
    "products",
    "put_matrix",
    "put_rows",
    "put_values",
    "read_columns",
    "read_rows",
    "rows",
    "segment_states",
    "summed",
]


def summed(g: torch.Tensor, plan: Plan) -> torch.Tensor:
    """Log decay from the start of a token's chunk up to the token itself: (B, T, …) -> (B, T, …) in fp32."""
    flat = g.contiguous().flatten(2)
    out = torch.empty(flat.shape, dtype=torch.float32, device=g.device)
    width = flat.shape[-1]
    block = min(64, triton.next_power_of_2(width))
    grid = (len(plan.chunks.first), triton.cdiv(width, block))
    _sum[grid](flat, out, plan.chunks.first, plan.chunks.end, width, FORGOTTEN, C=plan.constants["C"], BF=block)
    return out.view(g.shape)


@triton.jit
def _sum(g, out, chunk_first, chunk_end, width, lowest, C: tl.constexpr, BF: tl.constexpr):
    first, end = tl.load(chunk_first + tl.program_id(0)), tl.load(chunk_end + tl.program_id(0))
    t, f = first + tl.arange(0, C), tl.program_id(1) * BF + tl.arange(0, BF)
    place = t[:, None] * width + f[None, :]
    mask = (t < end)[:, None] & (f < width)[None, :]
    x = tl.maximum(tl.load(g + place, mask, other=0).to(tl.float32), lowest)
    tl.store(out + place, tl.cumsum(x, axis=0), mask)


@triton.jit
def rows(x, t, end, h, H, f, width):
    """Tokens t before `end`, channels f before `width` of head h of x (tokens, H, width), else 0: [t, f]."""
    mask = (t < end)[:, None] & (f < width)[None, :]
    return tl.load(x + (t[:, None] * H + h) * width + f[None, :], mask, other=0)


@triton.jit
def columns(x, t, end, h, H, f, width):
    """`rows`, loaded transposed: [f, t]."""
    mask = (f < width)[:, None] & (t < end)[None, :]
    return tl.load(x + (t[None, :] * H + h) * width + f[:, None], mask, other=0)


@triton.jit
def matrix(x, place, i, n_row, j, n_column):
    """Matrix number `place` of x (…, n_row, n_column), rows i and columns j, else 0: [i, j]."""
    mask = (i < n_row)[:, None] & (j < n_column)[None, :]
    return tl.load(x + place.to(tl.int64) * n_row * n_column + i[:, None] * n_column + j[None, :], mask, other=0)


@triton.jit
def matrix_t(x, place, i, n_row, j, n_column):
    """`matrix`, loaded transposed: [j, i]."""
    mask = (j < n_column)[:, None] & (i < n_row)[None, :]
    return tl.load(x + place.to(tl.int64) * n_row * n_column + i[None, :] * n_column + j[:, None], mask, other=0)


@triton.jit
def put_matrix(x, place, i, n_row, j, n_column, value):
    mask = (i < n_row)[:, None] & (j < n_column)[None, :]
    tl.store(x + place.to(tl.int64) * n_row * n_column + i[:, None] * n_column + j[None, :], value, mask)


@triton.jit
def put_rows(x, t, end, h, H, f, width, value):
    mask = (t < end)[:, None] & (f < width)[None, :]
    tl.store(x + (t[:, None] * H + h) * width + f[None, :], value, mask)


@triton.jit
def read_columns(b, t, low, end, h, H, f, F, SHIFT: tl.constexpr):
    """Log decays up to the reads of the tokens t of the chunk that starts at `low`, [f, t]; SHIFT: before their own."""
    if SHIFT:
        sums = columns(b, tl.maximum(t - 1, low), end, h, H, f, F)
        return tl.where((t > low)[None, :], sums, 0.0)
    else:
        return columns(b, t, end, h, H, f, F)


@triton.jit
def read_rows(b, t, low, end, h, H, f, F, SHIFT: tl.constexpr):
    """`read_columns`, transposed: [t, f]."""
    if SHIFT:
        sums = rows(b, tl.maximum(t - 1, low), end, h, H, f, F)
        return tl.where((t > low)[:, None], sums, 0.0)
    else:
        return rows(b, t, end, h, H, f, F)


@triton.jit
def _states(
    x, y, b, start, out, fade, first_of, end_of, chunk_of, weight, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, PRECISION: tl.constexpr,
    VECTOR: tl.constexpr, REVERSE: tl.constexpr, SHIFT: tl.constexpr, STORE: tl.constexpr,
):  # fmt: skip
    """Add x yᵀ up over a segment's chunks, with decay; STORE: from `start`, keeping the state at every chunk."""
    s, h = tl.program_id(0) // H, tl.program_id(0) % H
    first, end = tl.load(first_of + s), tl.load(end_of + s)
    k, v = tl.arange(0, BK), tl.program_id(1) * BV + tl.arange(0, BV)
    f, F = tl.arange(0, BK if VECTOR else 1), K if VECTOR else 1
    state = tl.zeros([BK, BV], tl.float32)
    if STORE:
        state += matrix(start, s * H + h, k, K, v, V)
    total = tl.zeros([BK if VECTOR else 1], tl.float32)
    n_chunk = tl.cdiv(end - first, C)
    for n in range(n_chunk):
        c = n_chunk - 1 - n if REVERSE else n
        if STORE:
            put_matrix(out, (tl.load(chunk_of + s) + c) * H + h, k, K, v, V, state)
        low = first + c * C
        t = low + tl.arange(0, C)
        decay = tl.load(b + ((tl.minimum(low + C, end) - 1) * H + h) * F + f, f < F, other=0)  # of the whole chunk
        if REVERSE:
            gap = read_columns(b, t, low, end, h, H, f, F, SHIFT)
        else:
            gap = decay[:, None] - columns(b, t, end, h, H, f, F)
        values = rows(y, t, end, h, H, v, V)
        weighted = (columns(x, t, end, h, H, k, K) * tl.exp(gap)).to(values.dtype)  # [K, C]
        state = tl.exp(decay)[:, None] * state + weight * tl.dot(weighted, values, input_precision=PRECISION)
        total += decay
    if not STORE:
        put_matrix(out, s * H + h, k, K, v, V, state)
        tl.store(fade + (s * H + h) * F + f, total, f < F)


@triton.jit
def _join(
    states, fade, initial, final, borders, H, K, V,
    BK: tl.constexpr, BV: tl.constexpr, VECTOR: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Turn what each segment of a sequence wrote into the state before it (REVERSE: after it), in place."""
    n, h = tl.program_id(0) // H, tl.program_id(0) % H
    k, v = tl.program_id(1) * BK + tl.arange(0, BK), tl.program_id(2) * BV + tl.arange(0, BV)
    f, F = k if VECTOR else tl.arange(0, 1), K if VECTOR else 1
    state = matrix(initial, n * H + h, k, K, v, V)
    first, last = tl.load(borders + n), tl.load(borders + n + 1)
    for i in range(last - first):
        s = last - 1 - i if REVERSE else first + i
        own = matrix(states, s * H + h, k, K, v, V)
        put_matrix(states, s * H + h, k, K, v, V, state)
        decay = tl.load(fade + (s * H + h) * F + f, f < F, other=0)
        state = tl.exp(decay)[:, None] * state + own
    put_matrix(final, n * H + h, k, K, v, V, state)


@triton.jit
def products(
    v, do, before, after, t, end, c, h, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Of a chunk c: do vᵀ [C, C] and v doᵀ; do Sᵀ and v dSᵀ [C, K] with the states around it; Σ S dS of values [K]."""
    pairs, pairs_t = tl.zeros([C, C], tl.float32), tl.zeros([C, C], tl.float32)
    queries, keys = tl.zeros([C, BK], tl.float32), tl.zeros([C, BK], tl.float32)
    kept, d = tl.zeros([BK], tl.float32), tl.arange(0, BK)
    for n in range(tl.cdiv(V, BV)):
        e = n * BV + tl.arange(0, BV)
        values, grads = rows(v, t, end, h, H, e, V), rows(do, t, end, h, H, e, V)
        pairs += tl.dot(grads, columns(v, t, end, h, H, e, V), input_precision=PRECISION)
        pairs_t += tl.dot(values, columns(do, t, end, h, H, e, V), input_precision=PRECISION)
        state_t, d_state_t = matrix_t(before, c * H + h, d, K, e, V), matrix_t(after, c * H + h, d, K, e, V)
        queries += tl.dot(grads.to(STATE), state_t.to(STATE), input_precision=PRECISION)
        keys += tl.dot(values.to(STATE), d_state_t.to(STATE), input_precision=PRECISION)
        kept += tl.sum(state_t.to(tl.float32) * d_state_t.to(tl.float32), 0)
    return pairs, pairs_t, queries, keys, kept


@triton.jit
def put_values(
    dv, do, after, keys, weights_t, t, end, c, h, H, K, V,
    BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Store dv: from later chunks through keys [C, K] faded to the chunk's end, from its own by weights_t [C, C]."""
    for n in range(tl.cdiv(V, BV)):
        e = n * BV + tl.arange(0, BV)
        grads, d_state = rows(do, t, end, h, H, e, V), matrix(after, c * H + h, tl.arange(0, BK), K, e, V)
        values = tl.dot(keys.to(STATE), d_state.to(STATE), input_precision=PRECISION)
        values += tl.dot(weights_t.to(grads.dtype), grads, input_precision=PRECISION)
        put_rows(dv, t, end, h, H, e, V, values)


def segment_states(
    x: torch.Tensor, y: torch.Tensor, b: torch.Tensor, edge: torch.Tensor, plan: Plan, weight: float, **kind: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The state before every segment (n, H, K, V), and the final states, from the initial ones `edge`.

    With REVERSE=True the gradient of the state after every segment, and of the initial states, from the final ones'.
    """
    states = _new_states(len(plan.segments.first), plan, torch.float32, x.device)
    fade = torch.empty(*states.shape[:2], plan.n_key if kind["VECTOR"] else 1, dtype=torch.float32, device=x.device)
    _launch_states(x, y, b, states, states, fade, plan, weight, STORE=False, **kind)
    final = torch.empty_like(edge)
    block_k, block_v = min(16, plan.constants["BK"]), plan.constants["BV"]
    grid = (
        plan.n_sequence * plan.n_head,
        triton.cdiv(plan.n_key, block_k),
        triton.cdiv(plan.n_value, block_v),
    )
    _join[grid](
        states, fade, edge, final, plan.segments.borders, plan.n_head, plan.n_key, plan.n_value,
        BK=block_k, BV=block_v, VECTOR=kind["VECTOR"], REVERSE=kind["REVERSE"],
    )  # fmt: skip
    return states, final


def chunk_states(
    x: torch.Tensor, y: torch.Tensor, b: torch.Tensor, start: torch.Tensor, plan: Plan, weight: float, **kind: bool
) -> torch.Tensor:
    """The state before (REVERSE: its gradient after) every chunk (n_chunk, H, K, V), from those of the segments."""
    dtype = torch.bfloat16 if plan.constants["STATE"] == tl.bfloat16 else torch.float32
    states = _new_states(len(plan.chunks.first), plan, dtype, x.device)
    _launch_states(x, y, b, start, states, states, plan, weight, STORE=True, **kind)
    return states


def _new_states(n: int, plan: Plan, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.empty(n, plan.n_head, plan.n_key, plan.n_value, dtype=dtype, device=device)


def _launch_states(
    x: torch.Tensor,
    y: torch.Tensor,
    b: torch.Tensor,
    start: torch.Tensor,
    out: torch.Tensor,
    fade: torch.Tensor,
    plan: Plan,
    weight: float,
    **kind: bool,
) -> None:
    pieces, constants = (
        plan.segments,
        {name: plan.constants[name] for name in ("C", "BK", "BV", "PRECISION", "num_warps")},
    )
    grid = (len(pieces.first) * plan.n_head, triton.cdiv(plan.n_value, constants["BV"]))
    _states[grid](
        x, y, b, start, out, fade, pieces.first, pieces.end, pieces.chunk, weight,
        plan.n_head, plan.n_key, plan.n_value, **constants, **kind,
    )  # fmt: skip
