"""RWKV-7's state as matrix products over chunks, on any device, differentiable, stable under any decay.

Same contract as `reference.rwkv7`. With c the log decay summed from the start of the chunk and S the state before it,
what the tokens of a chunk read of the states before them, U, solves

    (I − P(a, b)) U = (exp(c_{t-1}) ∘ a) S + P(a, k) V,    P(x, y)_ts = Σ_k exp(c_{t-1} − c_s) x_t y_s  for s < t

Decays are only ever multiplied to factors below one, so nothing overflows (`decayed_products`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from lindoc.kernels.packing import FORGOTTEN, chunks, starting_state

CHUNK = 64  # tokens


def rwkv7(
    r: torch.Tensor,
    w: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    *,
    scale: float = 1.0,
    initial_state: torch.Tensor | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Same contract as `reference.rwkv7`."""
    key_dim, value_dim = k.shape[-1], v.shape[-1]
    layout = chunks(r, cu_seqlens, CHUNK)
    start = starting_state(initial_state, v, len(layout.longest_first), *r.shape[2:], value_dim)
    r_c, w_c, k_c, v_c, a_c, b_c = (layout.spread(x.to(start.dtype)) for x in (r, w, k, v, a, b))  # (n, H, C, …)
    c = w_c.clamp(min=FORGOTTEN).cumsum(-2)
    reading = torch.stack([a_c, r_c])  # a reads the state before the token, r the state after it
    until = torch.stack([F.pad(c, (0, 0, 1, -1)), c])
    columns = torch.stack([b_c, k_c])

    product = decayed_products(reading[:, None], until[:, None], columns, c)  # (2, 2, n, H, C, C)
    (ab, ak), (rb, rk) = product[0], product[1] + torch.diag_embed((r_c * columns).sum(-1))
    into = reading * until.exp()  # (2, n, H, C, K)
    right = torch.cat([ak @ v_c, into[0]], -1)
    x, y = torch.linalg.solve_triangular(-ab, right, upper=False, unitriangular=True).split([value_dim, key_dim], -1)
    b_end, k_end = (columns * (c[..., -1:, :] - c).exp()).mT  # (n, H, K, C) faded to the end of the chunk
    written = b_end @ x + k_end @ v_c
    whole = c[..., -1, :, None].exp()  # (n, H, K, 1)

    def advance(state: torch.Tensor, *chunk: torch.Tensor) -> torch.Tensor:
        whole, b_end, y, written = chunk
        return whole * state + b_end @ (y @ state) + written

    before, final = layout.carry(start, advance, whole, b_end, y, written)
    o = into[1] @ before + rb @ (x + y @ before) + rk @ v_c
    return layout.collect(scale * o).to(v.dtype), final if output_final_state else None


def decayed_products(rows: torch.Tensor, until: torch.Tensor, columns: torch.Tensor, c: torch.Tensor) -> torch.Tensor:
    """Σ_k exp(until_t − c_s) rows_t columns_s for s < t, else 0: (…, C, K) -> (…, C, C), C a power of two.

    Every pair s < t is parted by the middle of exactly one block of 2, 4, 8, … tokens. The decay from s to the middle
    and the decay from there to t are both below one.
    """
    out = rows.new_zeros(*torch.broadcast_shapes(rows.shape, columns.shape)[:-1], 1, 1)
    half = 1
    while half < rows.shape[-2]:
        later, until_later = (x.unflatten(-2, (-1, 2, half))[..., 1, :, :] for x in (rows, until))  # (…, m, half, K)
        earlier, c_earlier = (x.unflatten(-2, (-1, 2, half))[..., 0, :, :] for x in (columns, c))
        middle = c_earlier[..., -1:, :]
        below = (later * (until_later - middle).exp()) @ (earlier * (middle - c_earlier).exp()).mT
        first, second = out.unflatten(-3, (-1, 2)).unbind(-3)  # (…, m, half, half)
        out = torch.cat([torch.cat([first, torch.zeros_like(below)], -1), torch.cat([below, second], -1)], -2)
        half *= 2
    return out.squeeze(-3)
