"""Linear attention with a vector decay in Triton, for `gla` and, with BONUS, for `rwkv6`.

Inside a chunk the late half of every block reads its early half, from blocks of the whole chunk down to two tokens.
Decays are taken to and from the border of the halves, so that both factors of the product are at most 1.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import (
    Plan,
    chunk_states,
    columns,
    matrix,
    plan,
    products,
    put_rows,
    put_values,
    read_columns,
    read_rows,
    rows,
    segment_states,
    summed,
)
from lindoc.kernels.packing import starting_state


def gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    *,
    scale: float,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.gla`, up to 256 key channels."""
    return vector_decay(q, k, v, g, None, scale, initial_state, output_final_state, cu_seqlens)


def vector_decay(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    u: torch.Tensor | None,
    scale: float,
    initial_state: torch.Tensor | None,
    output_final_state: bool,
    cu_seqlens: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`gla` without u; with it (H, K) a token reads before its own decay, and itself through u: `rwkv6`."""
    cut = plan(q, v, cu_seqlens, 64 if q.shape[-1] <= 64 else 32)
    initial = starting_state(initial_state, q, cut.n_sequence, *q.shape[2:], v.shape[-1])
    o, final = _VectorDecay.apply(q, k.to(q.dtype), v.to(q.dtype), g, u, initial, scale, cut)
    return o.to(v.dtype), final if output_final_state else None


def _halving(cut: Plan) -> dict[str, int]:
    """Halvings from a chunk down to two tokens; loads ahead of them would not fit into shared memory."""
    return {"LEVELS": cut.constants["C"].bit_length() - 1, "num_stages": 1, "num_warps": 8}


class _VectorDecay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        u: torch.Tensor | None,
        initial: torch.Tensor,
        scale: float,
        cut: Plan,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v, initial = (x.contiguous() for x in (q, k, v, initial))
        bonus = q.new_ones(q.shape[2:]) if u is None else u.contiguous()
        b = summed(g, cut)
        start, final = segment_states(k, v, b, initial, cut, 1.0, VECTOR=True, REVERSE=False, SHIFT=False)
        o = torch.empty_like(v)
        pieces, constants = cut.segments, cut.constants
        grid = (len(pieces.first) * cut.n_head, triton.cdiv(cut.n_value, constants["BV"]))
        _outputs[grid](
            q, k, v, b, bonus, start, o, pieces.first, pieces.end,
            scale, cut.n_head, cut.n_key, cut.n_value, BONUS=u is not None, **(constants | _halving(cut)),
        )  # fmt: skip
        ctx.save_for_backward(q, k, v, b, bonus, start)
        ctx.scale, ctx.cut, ctx.decay_dtype, ctx.has_bonus = scale, cut, g.dtype, u is not None
        return o, final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, b, bonus, start = ctx.saved_tensors
        cut, scale, has_bonus = ctx.cut, ctx.scale, ctx.has_bonus
        do, d_final = do.to(v.dtype).contiguous(), d_final.contiguous()
        reads = {"VECTOR": True, "REVERSE": True, "SHIFT": has_bonus}
        end, d_initial = segment_states(q, do, b, d_final, cut, scale, **reads)
        before = chunk_states(k, v, b, start, cut, 1.0, VECTOR=True, REVERSE=False, SHIFT=False)
        after = chunk_states(q, do, b, end, cut, scale, **reads)
        dq, dk, dv, dg = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), torch.empty_like(b)
        pieces = cut.chunks
        du = torch.empty(len(pieces.first), *bonus.shape, dtype=torch.float32, device=q.device)  # (n_chunk, H, K)
        _gradients[(len(pieces.first) * cut.n_head,)](
            q, k, v, b, bonus, do, before, after, dq, dk, dv, dg, du, pieces.first, pieces.end,
            scale, cut.n_head, cut.n_key, cut.n_value, BONUS=has_bonus, **(cut.constants | _halving(cut)),
        )  # fmt: skip
        d_bonus = du.sum(0).to(bonus.dtype) if has_bonus else None
        return dq, dk, dv, dg.to(ctx.decay_dtype), d_bonus, d_initial, None, None


@triton.jit
def _border(place, low, end, half):
    """The last early token of the block of each place in the chunk."""
    return tl.minimum(low + place // (2 * half) * (2 * half) + half - 1, end - 1)


@triton.jit
def _late(place, low, end, half):
    return (place % (2 * half) >= half) & (low + place < end)


@triton.jit
def _early(place, low, end, half):
    return (place % (2 * half) < half) & (low + place < end)


@triton.jit
def _same_block(place, half):
    return place[:, None] // (2 * half) == place[None, :] // (2 * half)


@triton.jit
def _decay(gap, where):
    """exp(gap), 0 elsewhere; the gaps elsewhere may be of any sign."""
    return tl.exp(tl.where(where, gap, float("-inf")))


@triton.jit
def _outputs(
    q, k, v, b, bonus, start, o, first_of, end_of, scale, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
    LEVELS: tl.constexpr, BONUS: tl.constexpr,
):  # fmt: skip
    s, h = tl.program_id(0) // H, tl.program_id(0) % H
    first, end = tl.load(first_of + s), tl.load(end_of + s)
    i, d, e = tl.arange(0, C), tl.arange(0, BK), tl.program_id(1) * BV + tl.arange(0, BV)
    state = matrix(start, s * H + h, d, K, e, V)
    own = tl.load(bonus + h * K + d, d < K, other=0).to(tl.float32)  # [K]
    for n in range(tl.cdiv(end - first, C)):
        low = first + n * C
        t = low + i
        queries, values = rows(q, t, end, h, H, d, K), rows(v, t, end, h, H, e, V)
        reads = read_rows(b, t, low, end, h, H, d, K, BONUS)  # [C, K]
        keys_t, sums_t = columns(k, t, end, h, H, d, K), columns(b, t, end, h, H, d, K)  # [K, C]
        itself = tl.sum(queries * (rows(k, t, end, h, H, d, K) * own[None, :]), 1)
        weights = tl.where(i[:, None] == i[None, :], itself[:, None], 0.0)  # [C, C]
        for level in range(LEVELS):
            half = C >> (level + 1)
            border = _border(i, low, end, half)
            gap = reads - rows(b, border, end, h, H, d, K)
            late = (queries * _decay(gap, _late(i, low, end, half)[:, None])).to(values.dtype)
            gap = columns(b, border, end, h, H, d, K) - sums_t
            early = (keys_t * _decay(gap, _early(i, low, end, half)[None, :])).to(values.dtype)
            weights += tl.where(_same_block(i, half), tl.dot(late, early, input_precision=PRECISION), 0.0)
        read = tl.dot((queries * tl.exp(reads)).to(STATE), state.to(STATE), input_precision=PRECISION)
        read += tl.dot(weights.to(values.dtype), values, input_precision=PRECISION)
        put_rows(o, t, end, h, H, e, V, read * scale)
        total = tl.load(b + ((tl.minimum(low + C, end) - 1) * H + h) * K + d, d < K, other=0)  # [K]
        faded = (keys_t * tl.exp(total[:, None] - sums_t)).to(values.dtype)
        state = tl.exp(total)[:, None] * state + tl.dot(faded, values, input_precision=PRECISION)


@triton.jit
def _halves(
    q, b, queries, keys, sums, reads, pairs, pairs_t, t, low, end, h, H, K, scale,
    C: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr, LEVELS: tl.constexpr, BONUS: tl.constexpr,
):  # fmt: skip
    """Backward of the reads inside a chunk: weights [writer, reader], gradients [C, K] of queries and keys, and what
    reads and writes give to the log decays: taken of the rounded factors, so that what cancels does so in fp32."""
    i, d = tl.arange(0, C), tl.arange(0, BK)
    queries_t = columns(q, t, end, h, H, d, K).to(tl.float32) * scale
    reads_t = read_columns(b, t, low, end, h, H, d, K, BONUS)  # [K, C]
    weights_t, d_queries = tl.zeros([C, C], tl.float32), tl.zeros([C, BK], tl.float32)
    d_keys, by_read, by_write = d_queries, d_queries, d_queries
    narrow: tl.constexpr = q.dtype.element_ty
    for level in range(LEVELS):
        half = C >> (level + 1)
        border = _border(i, low, end, half)
        at_border = rows(b, border, end, h, H, d, K)
        from_border = _decay(reads - at_border, _late(i, low, end, half)[:, None])
        to_border = _decay(at_border - sums, _early(i, low, end, half)[:, None])
        late, early = (queries * from_border).to(narrow), (keys * to_border).to(narrow)
        gap_t = reads_t - columns(b, border, end, h, H, d, K)
        late_t = (queries_t * _decay(gap_t, _late(i, low, end, half)[None, :])).to(narrow)
        same = _same_block(i, half)
        weights_t += tl.where(same, tl.dot(early, late_t, input_precision=PRECISION), 0.0)
        d_late = tl.dot(tl.where(same, pairs, 0.0).to(narrow), early, input_precision=PRECISION)
        d_early = tl.dot(tl.where(same, pairs_t, 0.0).to(narrow), late, input_precision=PRECISION)
        d_queries += d_late * from_border
        d_keys += d_early * to_border
        by_read += late * d_late
        by_write += early * d_early
    return weights_t, d_queries, d_keys, by_read, by_write


@triton.jit
def _gradients(
    q, k, v, b, bonus, do, before, after, dq, dk, dv, dg, du, first_of, end_of, scale, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
    LEVELS: tl.constexpr, BONUS: tl.constexpr,
):  # fmt: skip
    c, h = tl.program_id(0) // H, tl.program_id(0) % H
    low, end = tl.load(first_of + c), tl.load(end_of + c)
    i, d = tl.arange(0, C), tl.arange(0, BK)
    t, diagonal = low + i, i[:, None] == i[None, :]
    queries = rows(q, t, end, h, H, d, K).to(tl.float32) * scale  # [C, K]; without the cast, scale would be rounded
    keys = rows(k, t, end, h, H, d, K).to(tl.float32)
    sums, reads = rows(b, t, end, h, H, d, K), read_rows(b, t, low, end, h, H, d, K, BONUS)
    total = tl.load(b + ((end - 1) * H + h) * K + d, d < K, other=0)[None, :]
    own = tl.load(bonus + h * K + d, d < K, other=0).to(tl.float32)[None, :]
    d_pairs, d_pairs_t, d_queries, d_keys, kept = products(
        v, do, before, after, t, end, c, h, H, K, V, C, BK, BV, STATE, PRECISION
    )
    weights_t, d_near, d_near_keys, by_read, by_write = _halves(
        q, b, queries, keys, sums, reads, d_pairs, d_pairs_t, t, low, end, h, H, K, scale,
        C, BK, PRECISION, LEVELS, BONUS,
    )  # fmt: skip
    d_queries, d_keys = d_queries * tl.exp(reads), d_keys * tl.exp(total - sums)
    by_read += queries * d_queries
    by_later = keys * d_keys  # what later chunks read of this one faded through the decays after the write
    d_decay = tl.cumsum(by_read - by_write, 0, reverse=True) + tl.cumsum(by_later, 0) - by_later
    d_decay += tl.exp(total) * kept[None, :]
    if BONUS:
        d_decay -= by_read
    put_rows(dg, t, end, h, H, d, K, d_decay)

    d_itself = tl.sum(tl.where(diagonal, d_pairs, 0.0), 1)[:, None]
    put_rows(dq, t, end, h, H, d, K, (d_queries + d_near + d_itself * keys * own) * scale)
    put_rows(dk, t, end, h, H, d, K, d_keys + d_near_keys + d_itself * queries * own)
    tl.store(du + (c * H + h) * K + d, tl.sum(d_itself * queries * keys, 0), d < K)
    weights_t += tl.where(diagonal, tl.sum(queries * keys * own, 1)[:, None], 0.0)
    faded = keys * tl.exp(total - sums)
    put_values(dv, do, after, faded, weights_t, t, end, c, h, H, K, V, BK, BV, STATE, PRECISION)
