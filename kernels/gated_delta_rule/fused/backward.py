"""Triton kernels of the gated delta rule's backward pass.

With Y = (I + A)⁻ᵀ dU for the gradient dU of what the tokens of a chunk add, U, the gradients of the chunk's equation
are dA = −Y Uᵀ below the diagonal, β Y for V, and −β exp(c) Y Sᵀ for K. Transposed tiles are loaded, not transposed.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

import torch
import triton
import triton.language as tl

from lindoc.kernels.fused import Plan, columns, matrix, matrix_t, put_matrix, put_rows, rows
from lindoc.kernels.gated_delta_rule.fused.forward import pair_decay, value_block

__all__ = ["carry_back", "read_back", "solve_back"]

MANY_TILES = {"num_warps": 8, "num_stages": 1}  # of the kernels that hold most


def carry_back(
    q: torch.Tensor,
    k: torch.Tensor,
    w: torch.Tensor,
    c: torch.Tensor,
    d_o: torch.Tensor,
    d_final: torch.Tensor,
    scale: float,
    plan: Plan,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of what each token adds (B, T, H, V), of the state after each chunk, and of the initial state."""
    shape = plan.n_head, plan.n_key, plan.n_value
    n_block, tables = triton.cdiv(plan.n_value, plan.constants["BV"]), (plan.chunks.first, plan.chunks.end)
    d_new = torch.empty_like(d_o, dtype=w.dtype)
    _read_back_new[(len(plan.chunks.first) * n_block, plan.n_head)](
        q, k, c, d_o, d_new, scale, *tables, *shape, **plan.constants
    )
    d_after = torch.empty(len(plan.chunks.first), *shape, dtype=w.dtype, device=w.device)
    d_initial = torch.empty(plan.n_sequence, *shape, dtype=torch.float32, device=w.device)
    _carry_back[(plan.n_sequence * plan.n_head * n_block,)](
        q, k, w, c, d_o, d_final, d_new, d_after, d_initial, scale, *tables, plan.chunks.borders, *shape,
        **plan.constants,
    )  # fmt: skip
    return d_new, d_after, d_initial


def read_back(
    q: torch.Tensor,
    k: torch.Tensor,
    new: torch.Tensor,
    c: torch.Tensor,
    before: torch.Tensor,
    d_o: torch.Tensor,
    scale: float,
    plan: Plan,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of q, and the shares of those of k and c that come through the outputs."""
    d_q, d_k, d_c = torch.empty_like(q), torch.empty_like(k), torch.empty_like(c)
    _read_back[(len(plan.chunks.first), plan.n_head)](
        q, k, new, c, before, d_o, d_q, d_k, d_c, scale, plan.chunks.first, plan.chunks.end,
        plan.n_head, plan.n_key, plan.n_value, **(plan.constants | MANY_TILES),
    )  # fmt: skip
    return d_q, d_k, d_c


def solve_back(
    inputs: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor],
    states: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    d_new: torch.Tensor,
    d_after: torch.Tensor,
    d_k: torch.Tensor,
    d_c: torch.Tensor,
    plan: Plan,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Adds to the gradient of k its other share, and returns those of v, g and β.

    inputs : k, v, c and β
    states : (I + A)⁻¹, what each token adds, and the state before each chunk
    """
    k, v, c, beta = inputs
    d_v, d_g, d_beta = torch.empty_like(v), torch.empty_like(c), torch.empty_like(beta)
    _solve_back[(len(plan.chunks.first), plan.n_head)](
        k, v, c, beta, *states, d_new, d_after, d_k, d_v, d_c, d_g, d_beta, plan.chunks.first, plan.chunks.end,
        plan.n_head, plan.n_key, plan.n_value, **(plan.constants | MANY_TILES),
    )  # fmt: skip
    return d_v, d_g, d_beta


@triton.jit
def _read_back_new(
    q, k, c, d_o, d_new, scale, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk, e = value_block(V, BV)
    h = tl.program_id(1)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    f, t = tl.arange(0, BK), first + tl.arange(0, C)
    p_t = pairs_back(q, k, c, t, end, h, H, f, K, C, STATE, PRECISION) * scale
    b_do = rows(d_o, t, end, h, H, e, V).to(STATE)
    put_rows(d_new, t, end, h, H, e, V, tl.dot(p_t.to(STATE), b_do, input_precision=PRECISION))


@triton.jit
def pairs_back(q, k, c, t, end, h, H, f, K, C: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr):
    """exp(c_t − c_s) q_t·k_s for s ≤ t, else 0: [s, t]."""
    b_c = tl.load(c + t * H + h, t < end, other=0)
    b_k, b_qt = rows(k, t, end, h, H, f, K).to(STATE), columns(q, t, end, h, H, f, K).to(STATE)
    return tl.dot(b_k, b_qt, input_precision=PRECISION) * pair_decay_back(b_c, C)


@triton.jit
def pair_decay_back(c, C: tl.constexpr):
    """exp(c_t − c_s) for s ≤ t, else 0: [s, t]."""
    i = tl.arange(0, C)
    return tl.where(i[:, None] <= i[None, :], tl.exp(tl.minimum(c[None, :] - c[:, None], 0.0)), 0.0)


@triton.jit
def _carry_back(
    q, k, w, c, d_o, d_final, d_new, d_after, d_initial, scale, chunk_first, chunk_end, borders, H, K, V,
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
        b_c, last = tl.load(c + t * H + h, t < end, other=0), tl.load(c + (end - 1).to(tl.int64) * H + h)
        b_new = tl.dot(rows(k, t, end, h, H, f, K).to(STATE), b_ds, input_precision=PRECISION)
        b_new = b_new * tl.exp(last - b_c)[:, None] + rows(d_new, t, end, h, H, e, V)
        put_rows(d_new, t, end, h, H, e, V, b_new)
        b_do = (rows(d_o, t, end, h, H, e, V) * (tl.exp(b_c) * scale)[:, None]).to(STATE)
        b_qt, b_wt = columns(q, t, end, h, H, f, K).to(STATE), columns(w, t, end, h, H, f, K)
        d_state = d_state * tl.exp(last) + tl.dot(b_qt, b_do, input_precision=PRECISION)
        d_state -= tl.dot(b_wt, b_new.to(STATE), input_precision=PRECISION)
    put_matrix(d_initial, place, f, K, e, V, d_state)


@triton.jit
def _read_back(
    q, k, new, c, before, d_o, d_q, d_k, d_c, scale, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk, h = tl.program_id(0), tl.program_id(1)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    f, t = tl.arange(0, BK), first + tl.arange(0, C)
    b_dq = tl.zeros([C, BK], tl.float32)
    d_p, d_pt = tl.zeros([C, C], tl.float32), tl.zeros([C, C], tl.float32)
    for start in range(0, V, BV):
        e = start + tl.arange(0, BV)
        b_do, b_dot = rows(d_o, t, end, h, H, e, V).to(STATE), columns(d_o, t, end, h, H, e, V).to(STATE)
        d_p += tl.dot(b_do, columns(new, t, end, h, H, e, V), input_precision=PRECISION)
        d_pt += tl.dot(rows(new, t, end, h, H, e, V), b_dot, input_precision=PRECISION)
        b_dq += tl.dot(b_do, matrix_t(before, chunk * H + h, f, K, e, V), input_precision=PRECISION)
    b_c = tl.load(c + t * H + h, t < end, other=0)
    b_q, b_k = rows(q, t, end, h, H, f, K), rows(k, t, end, h, H, f, K)
    p = tl.dot(b_q.to(STATE), columns(k, t, end, h, H, f, K).to(STATE), input_precision=PRECISION)
    p_t = pairs_back(q, k, c, t, end, h, H, f, K, C, STATE, PRECISION)
    b_dq *= (tl.exp(b_c) * scale)[:, None]
    d_p *= pair_decay(b_c, C, False) * scale
    d_pt *= scale
    b_dc = tl.sum(b_q * b_dq, 1) + tl.sum(d_p * p, 1) - tl.sum(d_pt * p_t, 1)
    tl.store(d_c + t * H + h, b_dc, t < end)
    d_pt *= pair_decay_back(b_c, C)
    b_dq += tl.dot(d_p.to(STATE), b_k.to(STATE), input_precision=PRECISION)
    put_rows(d_q, t, end, h, H, f, K, b_dq)
    put_rows(d_k, t, end, h, H, f, K, tl.dot(d_pt.to(STATE), b_q.to(STATE), input_precision=PRECISION))


@triton.jit
def _solve_back(
    k, v, c, beta, inverse, new, before, d_new, d_after, d_k, d_v, d_c, d_g, d_beta, chunk_first, chunk_end, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, STATE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    chunk, h = tl.program_id(0), tl.program_id(1)
    first, end = tl.load(chunk_first + chunk).to(tl.int64), tl.load(chunk_end + chunk)
    i, f = tl.arange(0, C), tl.arange(0, BK)
    t = first + i
    b_c, b_beta = tl.load(c + t * H + h, t < end, other=0), tl.load(beta + t * H + h, t < end, other=0).to(tl.float32)
    d_a, d_at = tl.zeros([C, C], tl.float32), tl.zeros([C, C], tl.float32)
    into, leaving = tl.zeros([C, BK], tl.float32), tl.zeros([C, BK], tl.float32)  # Y Sᵀ, U dSᵀ
    b_dbeta, kept = tl.zeros([C], tl.float32), tl.zeros([BK], tl.float32)
    for start in range(0, V, BV):
        e = start + tl.arange(0, BV)
        b_new, b_dnew = rows(new, t, end, h, H, e, V), rows(d_new, t, end, h, H, e, V)
        y = tl.dot(columns(inverse, t, end, h, H, i, C), b_dnew, input_precision=PRECISION)
        y_t = tl.dot(columns(d_new, t, end, h, H, e, V), rows(inverse, t, end, h, H, i, C), input_precision=PRECISION)
        b_dbeta += tl.sum(y * rows(v, t, end, h, H, e, V), 1)
        put_rows(d_v, t, end, h, H, e, V, y * b_beta[:, None])
        d_a -= tl.dot(y.to(STATE), columns(new, t, end, h, H, e, V), input_precision=PRECISION)
        d_at -= tl.dot(b_new, y_t.to(STATE), input_precision=PRECISION)
        b_before, b_after = (
            matrix_t(before, chunk * H + h, f, K, e, V), matrix_t(d_after, chunk * H + h, f, K, e, V)
        )  # fmt: skip
        into += tl.dot(y.to(STATE), b_before, input_precision=PRECISION)
        leaving += tl.dot(b_new, b_after, input_precision=PRECISION)
        kept += tl.sum(b_before.to(tl.float32) * b_after, 0)
    b_k = rows(k, t, end, h, H, f, K)
    last = tl.load(c + (end - 1).to(tl.int64) * H + h)
    into *= -tl.exp(b_c)[:, None]
    leaving *= tl.exp(last - b_c)[:, None]
    faded = tl.sum(b_k * leaving, 1)
    b_dbeta += tl.sum(b_k * into, 1)
    into *= b_beta[:, None]
    b_dc = tl.load(d_c + t * H + h, t < end, other=0) - faded + tl.sum(b_k * into, 1)
    kk = tl.dot(b_k.to(STATE), columns(k, t, end, h, H, f, K).to(STATE), input_precision=PRECISION)
    d_kk, dbeta_of_a, dc_of_a = _back_to_keys(d_a, d_at, kk, b_c, b_beta, C)
    b_dk = rows(d_k, t, end, h, H, f, K) + into + leaving
    b_dk += tl.dot(d_kk.to(STATE), b_k.to(STATE), input_precision=PRECISION)
    put_rows(d_k, t, end, h, H, f, K, b_dk)
    tl.store(d_beta + t * H + h, b_dbeta + dbeta_of_a, t < end)
    b_dc += dc_of_a
    later = tl.sum(tl.where(i[:, None] >= i[None, :], b_dc[:, None], 0.0), 0)
    tl.store(d_g + t * H + h, later + tl.sum(faded, 0) + tl.sum(kept, 0) * tl.exp(last), t < end)


@triton.jit
def _back_to_keys(d_a, d_at, kk, c, beta, C: tl.constexpr):
    """Gradients of k_t·k_s [t, s] (made symmetric), β [t] and c [t], from those of A and its transpose."""
    i = tl.arange(0, C)
    d_a *= pair_decay(c, C, True)
    d_beta = tl.sum(d_a * kk, 1)
    d_a *= beta[:, None]
    d_at = tl.where(i[:, None] < i[None, :], d_at * pair_decay_back(c, C), 0.0) * beta[None, :]
    return d_a + d_at, d_beta, tl.sum((d_a - d_at) * kk, 1)
