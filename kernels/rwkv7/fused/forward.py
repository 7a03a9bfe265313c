"""Triton kernels of RWKV-7's forward pass; the notation is that of `chunked`.

`_pairs` multiplies the tokens of every chunk and inverts I − P(a, b), `_solve` applies the inverse, `_carry` passes the
state through the chunks, `_read` makes the outputs.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import Plan, columns, matrix, put_matrix, put_rows, read_rows, rows
from lindoc.kernels.gated_delta_rule.fused.forward import unit_lower_inverse, value_block

__all__ = [
    "Inputs",
    "Pairs",
    "border",
    "carry",
    "is_late",
    "pairs",
    "put_pairs",
    "read",
    "same_block",
    "solve",
    "state_type",
]


class Inputs(NamedTuple):
    """(B, T, H, K), v (B, T, H, V); c is the log decay from the start of a token's chunk, in fp32."""

    r: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor
    a: torch.Tensor
    b: torch.Tensor
    c: torch.Tensor


class Pairs(NamedTuple):
    """Of each chunk (B, T, H, C): the inverse, and the products of a with k, of r with b and of r with k."""

    inverse: torch.Tensor
    ak: torch.Tensor
    rb: torch.Tensor
    rk: torch.Tensor


def state_type(plan: Plan) -> torch.dtype:
    """Of the intermediate results that go through memory."""
    return torch.bfloat16 if plan.constants["STATE"] == tl.bfloat16 else torch.float32


def pairs(x: Inputs, plan: Plan) -> Pairs:
    """The products of the tokens of each chunk."""
    size = plan.constants["C"]
    shape = (*x.r.shape[:3], size)
    out = Pairs(*(torch.empty(shape, dtype=state_type(plan), device=x.r.device) for _ in Pairs._fields))
    _pairs[(len(plan.chunks.first), plan.n_head)](
        x.r, x.k, x.a, x.b, x.c, *out, plan.chunks.first, plan.chunks.end, plan.n_head, plan.n_key,
        LEVELS=size.bit_length() - 1, **plan.constants,
    )  # fmt: skip
    return out


def solve(x: Inputs, p: Pairs, plan: Plan) -> tuple[torch.Tensor, torch.Tensor]:
    """The inverse times P(a, k) V (B, T, H, V), and times exp(c_{t-1}) ∘ a (B, T, H, K)."""
    u, w = (torch.empty_like(y, dtype=state_type(plan)) for y in (x.v, x.a))
    _solve[(len(plan.chunks.first), plan.n_head)](
        x.v, x.a, x.c, p.inverse, p.ak, u, w, plan.chunks.first, plan.chunks.end,
        plan.n_head, plan.n_key, plan.n_value, **plan.constants,
    )  # fmt: skip
    return u, w


def carry(
    x: Inputs, u: torch.Tensor, w: torch.Tensor, initial: torch.Tensor | None, plan: Plan
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What each token reads with a (B, T, H, V), the state before each chunk (n, H, K, V), the last (N, H, K, V)."""
    shape = plan.n_head, plan.n_key, plan.n_value
    old = torch.empty_like(u)
    before = torch.empty(len(plan.chunks.first), *shape, dtype=u.dtype, device=u.device)
    final = torch.empty(plan.n_sequence, *shape, dtype=torch.float32, device=u.device)
    _carry[(plan.n_sequence * plan.n_head * triton.cdiv(plan.n_value, plan.constants["BV"]),)](
        x.k, x.v, x.b, x.c, u, w, initial, old, before, final,
        plan.chunks.first, plan.chunks.end, plan.chunks.borders, *shape,
        WITH_STATE=initial is not None, **plan.constants,
    )  # fmt: skip
    return old, before, final


def read(x: Inputs, p: Pairs, old: torch.Tensor, before: torch.Tensor, scale: float, plan: Plan) -> torch.Tensor:
    """The outputs (B, T, H, V)."""
    o = torch.empty_like(x.v)
    _read[(len(plan.chunks.first) * triton.cdiv(plan.n_value, plan.constants["BV"]), plan.n_head)](
        x.r, x.v, x.c, p.rb, p.rk, old, before, o, scale, plan.chunks.first, plan.chunks.end,
        plan.n_head, plan.n_key, plan.n_value, **plan.constants,
    )  # fmt: skip
    return o


@triton.jit
def border(i, first, end, LEVEL: tl.constexpr):
    """Of each token i of a chunk the last token of the early half of its block of 2^(LEVEL + 1)."""
    return tl.minimum(first + ((i >> (LEVEL + 1)) << (LEVEL + 1)) + (1 << LEVEL), end) - 1


@triton.jit
def is_late(i, LEVEL: tl.constexpr):
    return ((i >> LEVEL) & 1) == 1


@triton.jit
def same_block(i, LEVEL: tl.constexpr):
    return (i >> (LEVEL + 1))[:, None] == (i >> (LEVEL + 1))[None, :]


@triton.jit
def put_pairs(w, x, y, z, t, end, h, H, i, C, b_w, b_x, b_y, b_z):
    put_rows(w, t, end, h, H, i, C, b_w)
    put_rows(x, t, end, h, H, i, C, b_x)
    put_rows(y, t, end, h, H, i, C, b_y)
    put_rows(z, t, end, h, H, i, C, b_z)


@triton.jit
def _pairs(
    r, k, a, b, c, inverse, ak, rb, rk, chunk_first, chunk_end, H, K,
    LEVELS: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + tl.program_id(0)).to(tl.int64), tl.load(chunk_end + tl.program_id(0))
    i, f = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    b_r, b_a = rows(r, t, end, h, H, f, K).to(tl.float32), rows(a, t, end, h, H, f, K).to(tl.float32)
    b_kt, b_bt = columns(k, t, end, h, H, f, K).to(tl.float32), columns(b, t, end, h, H, f, K).to(tl.float32)
    until, b_c = read_rows(c, t, first, end, h, H, f, K, True), rows(c, t, end, h, H, f, K)
    c_t = columns(c, t, end, h, H, f, K)
    itself = i[:, None] == i[None, :]
    p_rb = tl.where(itself, tl.sum(b_r * rows(b, t, end, h, H, f, K), 1)[:, None], 0.0)
    p_rk = tl.where(itself, tl.sum(b_r * rows(k, t, end, h, H, f, K), 1)[:, None], 0.0)
    p_ab, p_ak = tl.zeros([C, C], tl.float32), tl.zeros([C, C], tl.float32)
    for level in tl.static_range(LEVELS):
        middle = border(i, first, end, level)
        late, same = is_late(i, level), same_block(i, level)
        at = rows(c, middle, end, h, H, f, K)
        late_a = (b_a * tl.where(late[:, None], tl.exp(tl.minimum(until - at, 0.0)), 0.0)).to(STATE)
        late_r = (b_r * tl.where(late[:, None], tl.exp(tl.minimum(b_c - at, 0.0)), 0.0)).to(STATE)
        gap = tl.minimum(columns(c, middle, end, h, H, f, K) - c_t, 0.0)
        fade = tl.where(late[None, :], 0.0, tl.exp(gap))
        early_b, early_k = (b_bt * fade).to(STATE), (b_kt * fade).to(STATE)
        p_ab += tl.where(same, tl.dot(late_a, early_b, input_precision=PRECISION), 0.0)
        p_ak += tl.where(same, tl.dot(late_a, early_k, input_precision=PRECISION), 0.0)
        p_rb += tl.where(same, tl.dot(late_r, early_b, input_precision=PRECISION), 0.0)
        p_rk += tl.where(same, tl.dot(late_r, early_k, input_precision=PRECISION), 0.0)
    b_x = unit_lower_inverse(-p_ab, C, LEVELS, PRECISION)
    put_pairs(inverse, ak, rb, rk, t, end, h, H, i, C, b_x, p_ak, p_rb, p_rk)


@triton.jit
def _solve(
    v, a, c, inverse, ak, u, w, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + tl.program_id(0)).to(tl.int64), tl.load(chunk_end + tl.program_id(0))
    i, f = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    b_x, b_ak = rows(inverse, t, end, h, H, i, C), rows(ak, t, end, h, H, i, C)
    b_a = rows(a, t, end, h, H, f, K) * tl.exp(read_rows(c, t, first, end, h, H, f, K, True))
    put_rows(w, t, end, h, H, f, K, tl.dot(b_x, b_a.to(STATE), input_precision=PRECISION))
    for start in range(0, V, BV):
        e = start + tl.arange(0, BV)
        b_u = tl.dot(b_ak, rows(v, t, end, h, H, e, V).to(STATE), input_precision=PRECISION)
        put_rows(u, t, end, h, H, e, V, tl.dot(b_x, b_u.to(STATE), input_precision=PRECISION))


@triton.jit
def _carry(
    k, v, b, c, u, w, initial, old, before, final, chunk_first, chunk_end, borders, H, K, V,
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
        b_old = rows(u, t, end, h, H, e, V) + tl.dot(rows(w, t, end, h, H, f, K), b_state, input_precision=PRECISION)
        put_rows(old, t, end, h, H, e, V, b_old)
        last = tl.load(c + ((end - 1).to(tl.int64) * H + h) * K + f, f < K, other=0)
        fade = tl.exp(last[:, None] - columns(c, t, end, h, H, f, K))  # [K, C]
        b_bt = (columns(b, t, end, h, H, f, K) * fade).to(STATE)
        b_kt = (columns(k, t, end, h, H, f, K) * fade).to(STATE)
        state *= tl.exp(last)[:, None]
        state += tl.dot(b_kt, rows(v, t, end, h, H, e, V).to(STATE), input_precision=PRECISION)
        state += tl.dot(b_bt, b_old.to(STATE), input_precision=PRECISION)
    put_matrix(final, place, f, K, e, V, state)


@triton.jit
def _read(
    r, v, c, rb, rk, old, before, o, scale, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk, e = value_block(V, BV)
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    i, f = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    b_r = (rows(r, t, end, h, H, f, K) * tl.exp(rows(c, t, end, h, H, f, K))).to(STATE)
    b_rb, b_rk = rows(rb, t, end, h, H, i, C), rows(rk, t, end, h, H, i, C)
    b_o = tl.dot(b_r, matrix(before, chunk * H + h, f, K, e, V), input_precision=PRECISION)
    b_o += tl.dot(b_rb, rows(old, t, end, h, H, e, V), input_precision=PRECISION)
    b_o += tl.dot(b_rk, rows(v, t, end, h, H, e, V).to(STATE), input_precision=PRECISION)
    put_rows(o, t, end, h, H, e, V, b_o * scale)
