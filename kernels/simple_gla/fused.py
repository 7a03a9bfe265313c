"""Linear attention with a scalar decay in Triton: segments side by side, chunks of a segment one after the other.

The backward keeps the state before and the gradient of the state after every chunk; then all chunks are independent.
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
    rows,
    segment_states,
    summed,
)
from lindoc.kernels.packing import starting_state


def simple_gla(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    *,
    scale: float,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    output_dtype: torch.dtype | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.simple_gla`, up to 256 key channels; `output_dtype`: None is that of v."""
    cut = plan(q, v, cu_seqlens)
    initial = starting_state(initial_state, q, cut.n_sequence, *q.shape[2:], v.shape[-1])
    o, final = _ScalarDecay.apply(q, k.to(q.dtype), v.to(q.dtype), g, initial, scale, cut, output_dtype or v.dtype)
    return o, final if output_final_state else None


class _ScalarDecay(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        initial: torch.Tensor,
        scale: float,
        cut: Plan,
        output_dtype: torch.dtype,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v, initial = (x.contiguous() for x in (q, k, v, initial))
        b = summed(g, cut)
        start, final = segment_states(k, v, b, initial, cut, 1.0, VECTOR=False, REVERSE=False, SHIFT=False)
        o = torch.empty(v.shape, dtype=output_dtype, device=v.device)
        pieces, constants = cut.segments, cut.constants
        grid = (len(pieces.first) * cut.n_head, triton.cdiv(cut.n_value, constants["BV"]))
        _outputs[grid](
            q, k, v, b, start, o, pieces.first, pieces.end, scale, cut.n_head, cut.n_key, cut.n_value, **constants
        )
        ctx.save_for_backward(q, k, v, b, start)
        ctx.scale, ctx.cut, ctx.decay_dtype = scale, cut, g.dtype
        return o, final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, b, start = ctx.saved_tensors
        cut, scale, constants = ctx.cut, ctx.scale, ctx.cut.constants
        do, d_final = do.to(v.dtype).contiguous(), d_final.contiguous()
        kind = {"VECTOR": False, "SHIFT": False}
        end, d_initial = segment_states(q, do, b, d_final, cut, scale, REVERSE=True, **kind)
        before = chunk_states(k, v, b, start, cut, 1.0, REVERSE=False, **kind)
        after = chunk_states(q, do, b, end, cut, scale, REVERSE=True, **kind)
        dq, dk, dv, dg = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), torch.empty_like(b)
        pieces = cut.chunks
        _gradients[(len(pieces.first) * cut.n_head,)](
            q, k, v, b, do, before, after, dq, dk, dv, dg, pieces.first, pieces.end,
            scale, cut.n_head, cut.n_key, cut.n_value, **(constants | {"num_warps": 8, "num_stages": 1}),
        )  # fmt: skip
        return dq, dk, dv, dg.to(ctx.decay_dtype), d_initial, None, None, None


@triton.jit
def _outputs(
    q, k, v, b, start, o, first_of, end_of, scale, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    s, h = tl.program_id(0) // H, tl.program_id(0) % H
    first, end = tl.load(first_of + s), tl.load(end_of + s)
    i, d, e = tl.arange(0, C), tl.arange(0, BK), tl.program_id(1) * BV + tl.arange(0, BV)
    state = matrix(start, s * H + h, d, K, e, V)
    for n in range(tl.cdiv(end - first, C)):
        t = first + n * C + i
        total = tl.load(b + (tl.minimum(first + n * C + C, end) - 1) * H + h)
        sums = tl.load(b + t * H + h, t < end, other=total)  # [C]
        queries, keys = rows(q, t, end, h, H, d, K), columns(k, t, end, h, H, d, K)
        values = rows(v, t, end, h, H, e, V)
        decay = tl.exp(tl.where(i[:, None] >= i[None, :], sums[:, None] - sums[None, :], float("-inf")))
        weights = (tl.dot(queries, keys, input_precision=PRECISION) * decay).to(values.dtype)  # [C, C]
        read = tl.dot(queries.to(STATE), state.to(STATE), input_precision=PRECISION) * tl.exp(sums)[:, None]
        read += tl.dot(weights, values, input_precision=PRECISION)
        put_rows(o, t, end, h, H, e, V, read * scale)
        faded = (keys * tl.exp(total - sums)[None, :]).to(values.dtype)  # [K, C]
        state = tl.exp(total) * state + tl.dot(faded, values, input_precision=PRECISION)


@triton.jit
def _gradients(
    q, k, v, b, do, before, after, dq, dk, dv, dg, first_of, end_of, scale, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    c, h = tl.program_id(0) // H, tl.program_id(0) % H
    first, end = tl.load(first_of + c), tl.load(end_of + c)
    i, d = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    total = tl.load(b + (end - 1) * H + h)
    sums = tl.load(b + t * H + h, t < end, other=total)  # [C]
    to_end, earlier = tl.exp(total - sums), i[:, None] >= i[None, :]
    decay = tl.exp(tl.where(earlier, sums[:, None] - sums[None, :], float("-inf"))) * scale  # [reader, writer]
    later = i[:, None] <= i[None, :]
    decay_t = tl.exp(tl.where(later, sums[None, :] - sums[:, None], float("-inf"))) * scale  # [writer, reader]
    queries, keys = rows(q, t, end, h, H, d, K), rows(k, t, end, h, H, d, K)  # [C, K]
    weights_t = tl.dot(keys, columns(q, t, end, h, H, d, K), input_precision=PRECISION) * decay_t
    put_values(dv, do, after, keys * to_end[:, None], weights_t, t, end, c, h, H, K, V, BK, BV, STATE, PRECISION)
    d_pairs, d_pairs_t, d_queries, d_keys, kept = products(
        v, do, before, after, t, end, c, h, H, K, V, C, BK, BV, STATE, PRECISION
    )
    d_queries, d_keys = d_queries * (tl.exp(sums) * scale)[:, None], d_keys * to_end[:, None]
    d_pairs, d_pairs_t = d_pairs * decay, d_pairs_t * decay_t

    by_pair = d_pairs * tl.dot(queries, columns(k, t, end, h, H, d, K), input_precision=PRECISION)
    by_pair = tl.where(i[:, None] > i[None, :], by_pair, 0.0)  # the own token is read without a decay
    by_read = tl.sum(queries * d_queries, 1) + tl.sum(by_pair, 1) - tl.sum(by_pair, 0)  # [C]
    by_write = tl.sum(keys * d_keys, 1)
    d_decay = tl.where(later, by_read[None, :], 0.0) + tl.where(later, 0.0, by_write[None, :])  # [decayed, by]
    tl.store(dg + t * H + h, tl.sum(d_decay, 1) + tl.sum(kept, 0) * tl.exp(total), t < end)
    d_queries += tl.dot(d_pairs.to(keys.dtype), keys, input_precision=PRECISION)
    d_keys += tl.dot(d_pairs_t.to(queries.dtype), queries, input_precision=PRECISION)
    put_rows(dq, t, end, h, H, d, K, d_queries)
    put_rows(dk, t, end, h, H, d, K, d_keys)
