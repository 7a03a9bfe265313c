"""The window memory in Triton: what every window writes, a scan over each document's windows, what every window reads.

A state is one row of K·V + K numbers, S and then z. The backward takes the same steps: what a window's reads ask of the
state before it is summed up, scanned from the last window to the first, and met by what each window wrote.
Nothing here waits for the device: borders stay on it.
"""

# mypy: disable-error-code="import-untyped, no-untyped-def, no-untyped-call, untyped-decorator"
from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from lindoc.core.errors import KernelError
from lindoc.kernels.fused import columns, put_rows, rows
from lindoc.kernels.packing import FORGOTTEN, starting_state
from lindoc.kernels.plan import MAX_KEY
from lindoc.kernels.window_memory.reference import EPSILON

BLOCK = 32  # windows of one step of the scan, and numbers of a state in one of its programs


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
    """Same contract as `reference.window_memory`, up to 256 key channels; `max_seqlen` is not needed here."""
    n_head, n_key, n_value = *q.shape[1:], v.shape[-1]
    if n_key > MAX_KEY:
        raise KernelError(f"backend 'triton' takes up to {MAX_KEY} key channels, not {n_key}; choose 'chunked'")
    s, z = (None, None) if initial_state is None else initial_state
    shape = (len(cu_documents) - 1, n_head, n_key)
    start = torch.cat([starting_state(s, q, *shape, n_value).flatten(2), starting_state(z, q, *shape)], -1)
    o, final = _WindowMemory.apply(q, k, v, g, beta, start, cu_seqlens.to(q.device), cu_documents.to(q.device))
    if not output_final_state:
        return o, None
    s, z = final.split([n_key * n_value, n_key], -1)
    return o, (s.unflatten(-1, (n_key, n_value)).contiguous(), z.contiguous())


class _WindowMemory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        beta: torch.Tensor,
        start: torch.Tensor,
        cu_seqlens: torch.Tensor,
        cu_documents: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = (q, k, v, g, beta, cu_seqlens, cu_documents)
        q, k, v, g, beta, cu_seqlens, cu_documents = (x.contiguous() for x in inputs)
        sizes, constants = (q.shape[1], q.shape[2], v.shape[-1]), _constants(q, k, v)
        states = _added_up(k, v, beta, beta, cu_seqlens, constants)
        final = _scan(states, start, g, cu_documents)
        o = torch.empty_like(v)
        grid = (states.shape[0] * states.shape[1], triton.cdiv(v.shape[-1], constants["BV"]))
        _read[grid](q, states, o, cu_seqlens, EPSILON, *sizes, **constants)
        ctx.save_for_backward(q, k, v, g, beta, states, cu_seqlens, cu_documents)
        ctx.constants = constants
        return o, final

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, do: torch.Tensor, d_final: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, g, beta, states, cu_seqlens, cu_documents = ctx.saved_tensors
        do, constants = do.contiguous(), ctx.constants
        sizes, grid = (q.shape[1], q.shape[2], v.shape[-1]), (states.shape[0] * states.shape[1],)
        dq, dk, dv, d_beta = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), torch.empty_like(beta)
        by_s, by_z = (torch.empty(beta.shape, dtype=torch.float32, device=q.device) for _ in range(2))
        _read_back[grid](q, do, states, dq, by_s, by_z, cu_seqlens, EPSILON, *sizes, **constants)
        d_states = _added_up(q, do, by_s, by_z, cu_seqlens, constants)
        tiles = triton.cdiv(states.shape[-1], BLOCK)
        d_g = torch.empty(len(d_final), q.shape[1], tiles, dtype=torch.float32, device=q.device)
        d_start = _scan(d_states, d_final.contiguous(), g, cu_documents, states, d_g)
        _write_back[grid](k, v, beta, d_states, dk, dv, d_beta, cu_seqlens, *sizes, **constants)
        return dq, dk, dv, d_g.sum((0, 2)).to(g.dtype), d_beta, d_start, None, None


def _constants(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> dict[str, Any]:
    """Tiles and number formats; fp16 is multiplied as tf32, equally precise, since a state's numbers overflow fp16."""
    n_key, wide = q.shape[-1], torch.promote_types(torch.promote_types(q.dtype, k.dtype), v.dtype)
    exact = wide == torch.float32
    return {
        "C": (32 if exact else 64) // (2 if n_key > (64 if exact else 128) else 1),  # tokens a step, as registers allow
        "BK": max(16, triton.next_power_of_2(n_key)),
        "BV": min(64, max(16, triton.next_power_of_2(v.shape[-1]))),
        "OPERAND": tl.bfloat16 if wide == torch.bfloat16 else tl.float32,
        "PRECISION": "tf32x3" if exact else "tf32",  # of fp32 operands
        "num_warps": 8 if exact or n_key > 64 else 4,
    }


def _added_up(
    x: torch.Tensor,
    y: torch.Tensor,
    by_s: torch.Tensor,
    by_z: torch.Tensor,
    cu_seqlens: torch.Tensor,
    constants: dict[str, Any],
) -> torch.Tensor:
    """Σ x yᵀ and Σ x over each window's tokens, weighted by `by_s` and `by_z` (T, H): (N, H, K·V + K) in fp32."""
    n_window, (_, n_head, n_key), n_value = len(cu_seqlens) - 1, x.shape, y.shape[-1]
    out = torch.empty(n_window, n_head, n_key * n_value + n_key, dtype=torch.float32, device=x.device)
    grid = (n_window * n_head, triton.cdiv(n_value, constants["BV"]))
    _add_up[grid](x, y, by_s, by_z, out, cu_seqlens, n_head, n_key, n_value, **constants)
    return out


def _scan(
    x: torch.Tensor,
    edge: torch.Tensor,
    g: torch.Tensor,
    cu_documents: torch.Tensor,
    before: torch.Tensor | None = None,
    d_g: torch.Tensor | None = None,
) -> torch.Tensor:
    """Turn the sums of each window into the state before it, in place; `edge` and the result: documents' first, last.

    With the states `before`: into the gradient of the state after it, from the last to the first; `d_g` (D, H, tiles)
    then gets the parts of the gradient of g.
    """
    out = torch.empty_like(edge)
    n_document, n_head, width = edge.shape
    _carry[(n_document * n_head, triton.cdiv(width, BLOCK))](
        x, edge, out, before, d_g, g, cu_documents, n_head, width, FORGOTTEN,
        BN=BLOCK, BW=BLOCK, REVERSE=before is not None,
    )  # fmt: skip
    return out


@triton.jit
def _window(cu_seqlens, H):
    """Of this program: its first token, the number of its tokens, its head, and its number among windows and heads."""
    place = tl.program_id(0).to(tl.int64)
    n, h = tl.program_id(0) // H, tl.program_id(0) % H
    first = tl.load(cu_seqlens + n).to(tl.int64)
    return first, (tl.load(cu_seqlens + n + 1) - first).to(tl.int32), h, place


@triton.jit
def _add_up(
    x, y, by_s, by_z, out, cu_seqlens, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first, size, h, place = _window(cu_seqlens, H)
    x, y, out = x + first * H * K, y + first * H * V, out + place * K * (V + 1)
    by_s, by_z = by_s + first * H, by_z + first * H
    k, v = tl.arange(0, BK), tl.program_id(1) * BV + tl.arange(0, BV)
    s, z = tl.zeros([BK, BV], tl.float32), tl.zeros([BK], tl.float32)
    for c in range(tl.cdiv(size, C)):
        t = c * C + tl.arange(0, C)
        weight = tl.load(by_s + t * H + h, t < size, other=0).to(tl.float32)  # [C]
        weight_z = tl.load(by_z + t * H + h, t < size, other=0).to(tl.float32)
        keys, values = columns(x, t, size, h, H, k, K).to(tl.float32), rows(y, t, size, h, H, v, V)  # [K, C], [C, V]
        s += tl.dot((keys * weight[None, :]).to(OPERAND), values.to(OPERAND), input_precision=PRECISION)
        z += tl.sum(keys * weight_z[None, :], 1)
    put_rows(out, k, K, 0, 1, v, V, s)
    if tl.program_id(1) == 0:
        tl.store(out + K * V + k, z, k < K)


@triton.jit
def _carry(
    x, edge, out, before, d_g, g, cu_documents, H, width, lowest,
    BN: tl.constexpr, BW: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    """Scan BW numbers of the states of a document and head, BN windows a step: one product with their decays."""
    d, h = tl.program_id(0) // H, tl.program_id(0) % H
    first, last = tl.load(cu_documents + d).to(tl.int64), tl.load(cu_documents + d + 1).to(tl.int64)
    i, f = tl.arange(0, BN), tl.program_id(1) * BW + tl.arange(0, BW)
    edge_place = tl.program_id(0).to(tl.int64) * width + f
    log_decay = tl.maximum(tl.load(g + h).to(tl.float32), lowest)
    gap = i[:, None] - 1 - i[None, :]  # windows between the read and the write
    decay = tl.exp(tl.where(gap >= 0, log_decay * gap, float("-inf")))  # [read, write]
    fade = tl.exp(log_decay * i)  # [BN]
    state, d_decay = tl.load(edge + edge_place, f < width, other=0), 0.0
    for step in range(tl.cdiv((last - first).to(tl.int32), BN)):
        low = first + step * BN
        n, size = low + i, tl.minimum(last - low, BN).to(tl.int32)
        if REVERSE:
            n = last - 1 - (n - first)
        place, mask = (n[:, None] * H + h) * width + f[None, :], (i < size)[:, None] & (f < width)[None, :]
        own = tl.load(x + place, mask, other=0)  # [BN, BW]
        states = fade[:, None] * state[None, :] + tl.dot(decay, own, input_precision="tf32x3")
        tl.store(x + place, states, mask)
        if REVERSE:
            d_decay += tl.sum(states * tl.load(before + place, mask, other=0))
        to_end = tl.exp(tl.where(i < size, log_decay * (size - 1 - i), float("-inf")))  # [BN]
        state = tl.exp(log_decay * size) * state + tl.sum(own * to_end[:, None], 0)
    tl.store(out + edge_place, state, f < width)
    if REVERSE:
        tl.store(d_g + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), d_decay * tl.exp(log_decay))


@triton.jit
def _read(
    q, states, o, cu_seqlens, epsilon, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first, size, h, place = _window(cu_seqlens, H)
    q, o, states = q + first * H * K, o + first * H * V, states + place * K * (V + 1)
    k, v = tl.arange(0, BK), tl.program_id(1) * BV + tl.arange(0, BV)
    s, z = rows(states, k, K, 0, 1, v, V).to(OPERAND), tl.load(states + K * V + k, k < K, other=0)
    for c in range(tl.cdiv(size, C)):
        t = c * C + tl.arange(0, C)
        queries = rows(q, t, size, h, H, k, K)  # [C, K]
        read = tl.dot(queries.to(OPERAND), s, input_precision=PRECISION)
        norm = tl.sum(queries.to(tl.float32) * z[None, :], 1) + epsilon
        put_rows(o, t, size, h, H, v, V, read / norm[:, None])


@triton.jit
def _read_back(
    q, do, states, dq, by_s, by_z, cu_seqlens, epsilon, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """dq, and what weighs q doᵀ and q (T, H) in the gradients of S and z: do·(q S) is q·(do Sᵀ)."""
    first, size, h, place = _window(cu_seqlens, H)
    q, dq, do, states = q + first * H * K, dq + first * H * K, do + first * H * V, states + place * K * (V + 1)
    by_s, by_z = by_s + first * H, by_z + first * H
    k = tl.arange(0, BK)
    z = tl.load(states + K * V + k, k < K, other=0)
    for c in range(tl.cdiv(size, C)):
        t = c * C + tl.arange(0, C)
        asked = tl.zeros([C, BK], tl.float32)  # do Sᵀ
        for n in range(tl.cdiv(V, BV)):
            v = n * BV + tl.arange(0, BV)
            s_t = columns(states, k, K, 0, 1, v, V).to(OPERAND)  # [V, K]
            asked += tl.dot(rows(do, t, size, h, H, v, V).to(OPERAND), s_t, input_precision=PRECISION)
        queries = rows(q, t, size, h, H, k, K).to(tl.float32)
        over_norm = 1 / (tl.sum(queries * z[None, :], 1) + epsilon)  # [C]
        d_norm = -tl.sum(queries * asked, 1) * over_norm * over_norm
        tl.store(by_s + t * H + h, over_norm, t < size)
        tl.store(by_z + t * H + h, d_norm, t < size)
        put_rows(dq, t, size, h, H, k, K, asked * over_norm[:, None] + d_norm[:, None] * z[None, :])


@triton.jit
def _write_back(
    k, v, beta, d_states, dk, dv, d_beta, cu_seqlens, H, K, V,
    C: tl.constexpr, BK: tl.constexpr, BV: tl.constexpr, OPERAND: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    first, size, h, place = _window(cu_seqlens, H)
    k, dk, v, dv = k + first * H * K, dk + first * H * K, v + first * H * V, dv + first * H * V
    beta, d_beta, d_states = beta + first * H, d_beta + first * H, d_states + place * K * (V + 1)
    d = tl.arange(0, BK)
    d_z = tl.load(d_states + K * V + d, d < K, other=0)
    for c in range(tl.cdiv(size, C)):
        t = c * C + tl.arange(0, C)
        weight = tl.load(beta + t * H + h, t < size, other=0).to(tl.float32)  # [C]
        keys = rows(k, t, size, h, H, d, K)
        asked = tl.zeros([C, BK], tl.float32) + d_z[None, :]  # v dSᵀ + dz
        for n in range(tl.cdiv(V, BV)):
            e = n * BV + tl.arange(0, BV)
            values, d_s = rows(v, t, size, h, H, e, V), rows(d_states, d, K, 0, 1, e, V).to(OPERAND)  # [C, V], [K, V]
            d_values = tl.dot(keys.to(OPERAND), d_s, input_precision=PRECISION) * weight[:, None]
            asked += tl.dot(values.to(OPERAND), tl.trans(d_s), input_precision=PRECISION)
            put_rows(dv, t, size, h, H, e, V, d_values)
        tl.store(d_beta + t * H + h, tl.sum(keys.to(tl.float32) * asked, 1), t < size)
        put_rows(dk, t, size, h, H, d, K, asked * weight[:, None])
