"""Triton kernels of the gated delta rule's forward pass; the notation is that of `chunked`.

`_solve` inverts I + A for every chunk by itself, `_carry` passes the state through the chunks, `_read` makes the
outputs of every chunk by itself.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import Plan, columns, matrix, put_matrix, put_rows, rows

__all__ = ["carry", "pair_decay", "read", "solve", "unit_lower_inverse", "value_block"]


def solve(
    k: torch.Tensor, v: torch.Tensor, c: torch.Tensor, beta: torch.Tensor, plan: Plan, x: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(I + A)⁻¹ of each chunk (B, T, H, C), unless x is it, and its products u (B, T, H, V) and w (B, T, H, K)."""
    dtype = torch.bfloat16 if plan.constants["STATE"] == tl.bfloat16 else torch.float32
    size = plan.constants["C"]
    inverse = torch.empty(*beta.shape, size, dtype=dtype, device=k.device) if x is None else x
    u, w = torch.empty_like(v, dtype=dtype), torch.empty_like(k, dtype=dtype)
    _solve[(len(plan.chunks.first), plan.n_head)](
        k, v, c, beta, inverse, u, w, plan.chunks.first, plan.chunks.end, plan.n_head, plan.n_key, plan.n_value,
        SOLVED=x is not None, LEVELS=size.bit_length() - 1,
        **plan.constants,
    )  # fmt: skip
    return inverse, u, w


def carry(
    k: torch.Tensor, u: torch.Tensor, w: torch.Tensor, c: torch.Tensor, initial: torch.Tensor | None, plan: Plan
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What each token adds (B, T, H, V), the state before each chunk (n, H, K, V) and the last (N, H, K, V)."""
    shape = plan.n_head, plan.n_key, plan.n_value
    new = torch.empty_like(u)
    before = torch.empty(len(plan.chunks.first), *shape, dtype=u.dtype, device=u.device)
    final = torch.empty(plan.n_sequence, *shape, dtype=torch.float32, device=u.device)
    grid = (plan.n_sequence * plan.n_head * triton.cdiv(plan.n_value, plan.constants["BV"]),)
    _carry[grid](
        k, u, w, c, initial, new, before, final, plan.chunks.first, plan.chunks.end, plan.chunks.borders, *shape,
        WITH_STATE=initial is not None, **plan.constants,
    )  # fmt: skip
    return new, before, final


def read(
    q: torch.Tensor, k: torch.Tensor, new: torch.Tensor, c: torch.Tensor, before: torch.Tensor, scale: float, plan: Plan
) -> torch.Tensor:
    """The outputs (B, T, H, V)."""
    o = torch.empty_like(new, dtype=q.dtype)
    grid = (len(plan.chunks.first) * triton.cdiv(plan.n_value, plan.constants["BV"]), plan.n_head)
    _read[grid](
        q, k, new, c, before, o, scale, plan.chunks.first, plan.chunks.end, plan.n_head, plan.n_key, plan.n_value,
        **plan.constants,
    )  # fmt: skip
    return o


@triton.jit
def value_block(V, BV: tl.constexpr):
    """What the program works on, and on which of its values; only the grid's first side may be long."""
    n_block = tl.cdiv(V, BV)
    return tl.program_id(0) // n_block, tl.program_id(0) % n_block * BV + tl.arange(0, BV)


@triton.jit
def pair_decay(c, C: tl.constexpr, STRICT: tl.constexpr):
    """exp(c_t − c_s) for s ≤ t, for s < t if strict, else 0: [t, s]."""
    i = tl.arange(0, C)
    earlier = i[None, :] < i[:, None] if STRICT else i[None, :] <= i[:, None]
    return tl.where(earlier, tl.exp(tl.minimum(c[:, None] - c[None, :], 0.0)), 0.0)


@triton.jit
def unit_lower_inverse(a, C: tl.constexpr, LEVELS: tl.constexpr, PRECISION: tl.constexpr):
    """(I + a)⁻¹ of a strictly lower a [C, C], C = 2^LEVELS: blocks of 1, 2, 4, … are joined by the corner between."""
    i = tl.arange(0, C)
    row, column = i[:, None], i[None, :]
    x = tl.where(row == column, 1.0, 0.0) - tl.where(row // 2 == column // 2, a, 0.0)
    for level in tl.static_range(1, LEVELS):
        same = (row >> (level + 1)) == (column >> (level + 1))
        corner = tl.where(same & ((row >> level) != (column >> level)), a, 0.0)
        x -= tl.dot(tl.dot(x, corner, input_precision=PRECISION), x, input_precision=PRECISION)
    return x


@triton.jit
def _solve(
    k, v, c, beta, inverse, u, w, chunk_first, chunk_end, H, K, V,
    SOLVED: tl.constexpr, LEVELS: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + tl.program_id(0)).to(tl.int64), tl.load(chunk_end + tl.program_id(0))
    i, f = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    b_c, b_beta = tl.load(c + t * H + h, t < end, other=0), tl.load(beta + t * H + h, t < end, other=0).to(tl.float32)
    b_k = rows(k, t, end, h, H, f, K)
    if SOLVED:
        b_x = rows(inverse, t, end, h, H, i, C)
    else:
        kk = tl.dot(b_k.to(STATE), columns(k, t, end, h, H, f, K).to(STATE), input_precision=PRECISION)
        a = kk * pair_decay(b_c, C, True) * b_beta[:, None]
        b_x = unit_lower_inverse(a, C, LEVELS, PRECISION).to(STATE)
        put_rows(inverse, t, end, h, H, i, C, b_x)
    b_w = tl.dot(b_x, (b_k * (b_beta * tl.exp(b_c))[:, None]).to(STATE), input_precision=PRECISION)
    put_rows(w, t, end, h, H, f, K, b_w)
    for start in range(0, V, BV):
        e = start + tl.arange(0, BV)
        b_v = rows(v, t, end, h, H, e, V) * b_beta[:, None]
        put_rows(u, t, end, h, H, e, V, tl.dot(b_x, b_v.to(STATE), input_precision=PRECISION))


@triton.jit
def _carry(
    k, u, w, c, initial, new, before, final, chunk_first, chunk_end, borders, H, K, V,
    WITH_STATE: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    place, e = value_block(V, BV)
    n, h, i, f = place // H, place % H, tl.arange(0, C), tl.arange(0, BK)
    state = tl.zeros([BK, BV], tl.float32)
    if WITH_STATE:
        state += matrix(initial, place, f, K, e, V)
    for chunk in range(tl.load(borders + n), tl.load(borders + n + 1)):
        first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
        t = first + i
        b_state = state.to(STATE)
        put_matrix(before, chunk * H + h, f, K, e, V, b_state)
        b_w, b_kt = rows(w, t, end, h, H, f, K), columns(k, t, end, h, H, f, K)
        b_new = rows(u, t, end, h, H, e, V) - tl.dot(b_w, b_state, input_precision=PRECISION)
        put_rows(new, t, end, h, H, e, V, b_new)
        last = tl.load(c + (end - 1).to(tl.int64) * H + h)
        b_new *= tl.exp(last - tl.load(c + t * H + h, t < end, other=0))[:, None]
        state = state * tl.exp(last) + tl.dot(b_kt.to(STATE), b_new.to(STATE), input_precision=PRECISION)
    put_matrix(final, place, f, K, e, V, state)


@triton.jit
def _read(
    q, k, new, c, before, o, scale, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk, e = value_block(V, BV)
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    f, t = tl.arange(0, BK), first + tl.arange(0, C)
    b_c = tl.load(c + t * H + h, t < end, other=0)
    b_q, b_kt = rows(q, t, end, h, H, f, K).to(STATE), columns(k, t, end, h, H, f, K).to(STATE)
    p = tl.dot(b_q, b_kt, input_precision=PRECISION) * pair_decay(b_c, C, False)
    b_o = tl.dot(b_q, matrix(before, chunk * H + h, f, K, e, V), input_precision=PRECISION) * tl.exp(b_c)[:, None]
    b_o += tl.dot(p.to(STATE), rows(new, t, end, h, H, e, V), input_precision=PRECISION)
    put_rows(o, t, end, h, H, e, V, b_o * scale)
