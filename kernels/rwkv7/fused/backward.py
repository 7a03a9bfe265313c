"""Triton kernels of RWKV-7's backward pass.

With U what the tokens of a chunk read with a, dU its gradient and Y = (I − P(a, b))⁻ᵀ dU, the gradients of the pairs
are Y Uᵀ, Y Vᵀ, dO Uᵀ and dO Vᵀ. `_carry_back` passes the gradient of the state back, `_solve_back` makes these, and
`_pairs_back` takes them to r, k, a, b and the decays. Transposed tiles are loaded, not transposed.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import Plan, columns, matrix, matrix_t, put_matrix, put_rows, read_rows, rows
from lindoc.kernels.gated_delta_rule.fused.forward import value_block
from lindoc.kernels.rwkv7.fused.forward import Inputs, Pairs, border, is_late, put_pairs, same_block

__all__ = ["carry_back", "pairs_back", "solve_back"]

MANY_TILES = {"num_warps": 8, "num_stages": 1}  # of the kernels that hold most


def carry_back(
    x: Inputs, p: Pairs, w: torch.Tensor, d_o: torch.Tensor, d_final: torch.Tensor, plan: Plan
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of what each token reads with a, of the state after each chunk, and of the initial state."""
    shape = plan.n_head, plan.n_key, plan.n_value
    d_old = torch.empty_like(d_o, dtype=w.dtype)
    d_after = torch.empty(len(plan.chunks.first), *shape, dtype=w.dtype, device=w.device)
    d_initial = torch.empty(plan.n_sequence, *shape, dtype=torch.float32, device=w.device)
    _carry_back[(plan.n_sequence * plan.n_head * triton.cdiv(plan.n_value, plan.constants["BV"]),)](
        x.r, x.b, x.c, p.rb, w, d_o, d_final, d_old, d_after, d_initial,
        plan.chunks.first, plan.chunks.end, plan.chunks.borders, *shape, **plan.constants,
    )  # fmt: skip
    return d_old, d_after, d_initial


def solve_back(
    x: Inputs,
    p: Pairs,
    states: tuple[torch.Tensor, torch.Tensor],
    d_states: tuple[torch.Tensor, torch.Tensor],
    d_o: torch.Tensor,
    plan: Plan,
) -> tuple[Pairs, Inputs]:
    """Gradients of the pairs (that of P(a, b) in place of the inverse's), and of what goes through the states.

    states : what each token reads with a, and the state before each chunk
    d_states : the gradient of the first, and of the state after each chunk
    """
    d_pairs = Pairs(*(torch.empty_like(y) for y in p))
    d_x = Inputs(*(torch.empty_like(y) for y in x))
    _solve_back[(len(plan.chunks.first), plan.n_head)](
        *x, p.inverse, p.ak, p.rk, *states, *d_states, d_o, *d_pairs, *d_x,
        plan.chunks.first, plan.chunks.end, plan.n_head, plan.n_key, plan.n_value, **(plan.constants | MANY_TILES),
    )  # fmt: skip
    return d_pairs, d_x


def pairs_back(x: Inputs, d_pairs: Pairs, d_x: Inputs, plan: Plan) -> None:
    """Add the share of the pairs to the gradients, in place; that of c becomes that of w."""
    constants = plan.constants | MANY_TILES | {"BK": min(64, plan.constants["BK"])}
    _pairs_back[(len(plan.chunks.first), plan.n_head, triton.cdiv(plan.n_key, constants["BK"]))](
        x.r, x.k, x.a, x.b, x.c, *d_pairs, d_x.r, d_x.k, d_x.a, d_x.b, d_x.c,
        plan.chunks.first, plan.chunks.end, plan.n_head, plan.n_key,
        LEVELS=constants["C"].bit_length() - 1, **constants,
    )  # fmt: skip


@triton.jit
def _carry_back(
    r, b, c, rb, w, d_o, d_final, d_old, d_after, d_initial, chunk_first, chunk_end, borders, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    place, e = value_block(V, BV)
    n, h, i, f = place // H, place % H, tl.arange(0, C), tl.arange(0, BK)
    d_state = matrix(d_final, place, f, K, e, V)
    start, stop = tl.load(borders + n), tl.load(borders + n + 1)
    for step in range(stop - start):
        chunk = stop - 1 - step
        first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
        t = first + i
        b_ds = d_state.to(STATE)
        put_matrix(d_after, chunk * H + h, f, K, e, V, b_ds)
        last = tl.load(c + ((end - 1).to(tl.int64) * H + h) * K + f, f < K, other=0)
        b_b = rows(b, t, end, h, H, f, K) * tl.exp(last[None, :] - rows(c, t, end, h, H, f, K))
        b_do = rows(d_o, t, end, h, H, e, V)
        b_old = tl.dot(columns(rb, t, end, h, H, i, C), b_do, input_precision=PRECISION)
        b_old += tl.dot(b_b.to(STATE), b_ds, input_precision=PRECISION)
        put_rows(d_old, t, end, h, H, e, V, b_old)
        b_rt = (columns(r, t, end, h, H, f, K) * tl.exp(columns(c, t, end, h, H, f, K))).to(STATE)
        d_state = d_state * tl.exp(last)[:, None] + tl.dot(b_rt, b_do, input_precision=PRECISION)
        d_state += tl.dot(columns(w, t, end, h, H, f, K), b_old.to(STATE), input_precision=PRECISION)
    put_matrix(d_initial, place, f, K, e, V, d_state)


@triton.jit
def _solve_back(
    r, k, v, a, b, c, inverse, ak, rk, old, before, d_old, d_after, d_o,
    d_ab, d_ak, d_rb, d_rk, d_r, d_k, d_v, d_a, d_b, d_c, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk, h = tl.program_id(0), tl.program_id(1)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    i, f = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    b_c, until = rows(c, t, end, h, H, f, K), read_rows(c, t, first, end, h, H, f, K, True)
    last = tl.load(c + ((end - 1).to(tl.int64) * H + h) * K + f, f < K, other=0)[None, :]
    b_k, b_b = rows(k, t, end, h, H, f, K) * tl.exp(last - b_c), rows(b, t, end, h, H, f, K) * tl.exp(last - b_c)
    p_ab, p_ak = tl.zeros([C, C], tl.float32), tl.zeros([C, C], tl.float32)
    p_rb, p_rk = tl.zeros([C, C], tl.float32), tl.zeros([C, C], tl.float32)
    b_dr, b_da = tl.zeros([C, BK], tl.float32), tl.zeros([C, BK], tl.float32)
    b_dk, b_db = tl.zeros([C, BK], tl.float32), tl.zeros([C, BK], tl.float32)
    kept = tl.zeros([BK], tl.float32)
    for start in range(0, V, BV):
        e = start + tl.arange(0, BV)
        b_v, b_old, b_do = (
            rows(v, t, end, h, H, e, V).to(STATE),
            rows(old, t, end, h, H, e, V),
            rows(d_o, t, end, h, H, e, V),
        )
        y = tl.dot(columns(inverse, t, end, h, H, i, C), rows(d_old, t, end, h, H, e, V), input_precision=PRECISION).to(
            STATE
        )
        b_dv = tl.dot(columns(rk, t, end, h, H, i, C), b_do, input_precision=PRECISION)
        b_dv += tl.dot(columns(ak, t, end, h, H, i, C), y, input_precision=PRECISION)
        b_dv += tl.dot(b_k.to(STATE), matrix(d_after, chunk * H + h, f, K, e, V), input_precision=PRECISION)
        put_rows(d_v, t, end, h, H, e, V, b_dv)
        v_t, old_t = columns(v, t, end, h, H, e, V).to(STATE), columns(old, t, end, h, H, e, V)
        p_ab += tl.dot(y, old_t, input_precision=PRECISION)
        p_ak += tl.dot(y, v_t, input_precision=PRECISION)
        p_rb += tl.dot(b_do, old_t, input_precision=PRECISION)
        p_rk += tl.dot(b_do, v_t, input_precision=PRECISION)
        s_t, ds_t = matrix_t(before, chunk * H + h, f, K, e, V), matrix_t(d_after, chunk * H + h, f, K, e, V)
        b_da += tl.dot(y, s_t, input_precision=PRECISION)
        b_dr += tl.dot(b_do, s_t, input_precision=PRECISION)
        b_db += tl.dot(b_old, ds_t, input_precision=PRECISION)
        b_dk += tl.dot(b_v, ds_t, input_precision=PRECISION)
        kept += tl.sum(s_t.to(tl.float32) * ds_t.to(tl.float32), 0)
    put_pairs(d_ab, d_ak, d_rb, d_rk, t, end, h, H, i, C, p_ab, p_ak, p_rb, p_rk)
    written = b_k * b_dk + b_b * b_db  # what later chunks read of a token, through the decays after it
    b_dr, b_da = b_dr * tl.exp(b_c), b_da * tl.exp(until)
    by_r, by_a = rows(r, t, end, h, H, f, K) * b_dr, rows(a, t, end, h, H, f, K) * b_da
    b_dc = tl.cumsum(by_r + by_a, 0, reverse=True) - by_a + tl.cumsum(written, 0) - written
    put_rows(d_c, t, end, h, H, f, K, b_dc + tl.exp(last) * kept[None, :])
    put_rows(d_r, t, end, h, H, f, K, b_dr)
    put_rows(d_a, t, end, h, H, f, K, b_da)
    put_rows(d_k, t, end, h, H, f, K, b_dk * tl.exp(last - b_c))
    put_rows(d_b, t, end, h, H, f, K, b_db * tl.exp(last - b_c))


@triton.jit
def _both(p, x, q, y, same, PRECISION: tl.constexpr):
    """p x + q y of the pairs p, q [C, C] that share a block."""
    zero = tl.zeros_like(p)
    both = tl.dot(tl.where(same, p, zero), x, input_precision=PRECISION)
    return both + tl.dot(tl.where(same, q, zero), y, input_precision=PRECISION)


@triton.jit
def _pairs_back(
    r, k, a, b, c, d_ab, d_ak, d_rb, d_rk, d_r, d_k, d_a, d_b, d_c, chunk_first, chunk_end, H, K,
    LEVELS: tl.constexpr,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + tl.program_id(0)).to(tl.int64), tl.load(chunk_end + tl.program_id(0))
    i, f = tl.arange(0, C), tl.program_id(2) * BK + tl.arange(0, BK)
    t, itself = first + i, i[:, None] == i[None, :]
    b_r, b_a = rows(r, t, end, h, H, f, K).to(tl.float32), rows(a, t, end, h, H, f, K).to(tl.float32)
    b_k, b_b = rows(k, t, end, h, H, f, K).to(tl.float32), rows(b, t, end, h, H, f, K).to(tl.float32)
    b_c, until = rows(c, t, end, h, H, f, K), read_rows(c, t, first, end, h, H, f, K, True)
    own_b = tl.sum(tl.where(itself, rows(d_rb, t, end, h, H, i, C), 0.0), 1)[:, None]
    own_k = tl.sum(tl.where(itself, rows(d_rk, t, end, h, H, i, C), 0.0), 1)[:, None]
    b_dr, b_da = rows(d_r, t, end, h, H, f, K) + own_b * b_b + own_k * b_k, rows(d_a, t, end, h, H, f, K).to(tl.float32)
    b_dk, b_db = rows(d_k, t, end, h, H, f, K) + own_k * b_r, rows(d_b, t, end, h, H, f, K) + own_b * b_r
    by_a, by_rest = tl.zeros([C, BK], tl.float32), tl.zeros([C, BK], tl.float32)
    for level in tl.static_range(LEVELS):
        same = same_block(i, level)
        at = rows(c, border(i, first, end, level), end, h, H, f, K)
        late = is_late(i, level)[:, None]
        fade_a = tl.where(late, tl.exp(tl.minimum(until - at, 0.0)), 0.0)
        fade_r = tl.where(late, tl.exp(tl.minimum(b_c - at, 0.0)), 0.0)
        fade = tl.where(late, 0.0, tl.exp(tl.minimum(at - b_c, 0.0)))
        late_a, late_r = (b_a * fade_a).to(STATE), (b_r * fade_r).to(STATE)
        early_b, early_k = (b_b * fade).to(STATE), (b_k * fade).to(STATE)
        g = _both(rows(d_ab, t, end, h, H, i, C), early_b, rows(d_ak, t, end, h, H, i, C), early_k, same, PRECISION)
        b_da += g * fade_a
        by_a += g * late_a
        g = _both(rows(d_rb, t, end, h, H, i, C), early_b, rows(d_rk, t, end, h, H, i, C), early_k, same, PRECISION)
        b_dr += g * fade_r
        by_rest += g * late_r
        g = _both(columns(d_ab, t, end, h, H, i, C), late_a, columns(d_rb, t, end, h, H, i, C), late_r, same, PRECISION)
        b_db += g * fade
        by_rest -= g * early_b
        g = _both(columns(d_ak, t, end, h, H, i, C), late_a, columns(d_rk, t, end, h, H, i, C), late_r, same, PRECISION)
        b_dk += g * fade
        by_rest -= g * early_k
    b_dc = rows(d_c, t, end, h, H, f, K) + tl.cumsum(by_a + by_rest, 0, reverse=True) - by_a
    put_rows(d_c, t, end, h, H, f, K, b_dc)
    put_rows(d_r, t, end, h, H, f, K, b_dr)
    put_rows(d_a, t, end, h, H, f, K, b_da)
    put_rows(d_k, t, end, h, H, f, K, b_dk)
    put_rows(d_b, t, end, h, H, f, K, b_db)
