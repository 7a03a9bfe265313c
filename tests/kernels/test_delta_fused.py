"""The delta rules and RWKV-7 in Triton equal the equation in float64: outputs, final states, all gradients.

Without a GPU they run under Triton's interpreter (conftest.py). Every buffer starts as NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from lindoc.core.errors import KernelError
from lindoc.kernels.backend import triton_runs_on
from lindoc.kernels.delta_rule import delta_rule
from lindoc.kernels.gated_delta_rule import gated_delta_rule
from lindoc.kernels.rwkv7 import rwkv7

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [
    pytest.mark.skipif(not triton_runs_on(DEVICE), reason="needs Triton"),
    pytest.mark.usefixtures("poisoned"),
]

# a gradient sums over the tokens after it, so errors are measured against its largest entry
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 3e-2}

Inputs = tuple[torch.Tensor, ...]
RUN: dict[int, Callable[..., tuple[torch.Tensor, torch.Tensor | None]]] = {
    4: delta_rule, 5: gated_delta_rule, 6: rwkv7
}  # fmt: skip


def inputs(n_token: int, n_head: int, key_dim: int, value_dim: int, strength: float, rows: int = 1) -> Inputs:
    """q, k of unit length, v, g, β."""
    draw = torch.Generator().manual_seed(n_token)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(rows, n_token, n_head, *shape, generator=draw)

    q, k, v = normal(key_dim), F.normalize(normal(key_dim), dim=-1), normal(value_dim)
    return q, k, v, -strength * normal().abs(), normal().sigmoid()


def rwkv7_inputs(n_token: int, n_head: int, key_dim: int, value_dim: int, strength: float, rows: int = 1) -> Inputs:
    """r, w, k, v, a, b."""
    r, kk, v, _, rate = inputs(n_token, n_head, key_dim, value_dim, strength, rows)
    w, k = -strength * r.flip(1).abs(), 0.5 * r.flip(-1)
    return r, w, k, v, -kk, kk * rate[..., None]


def results(
    xs: Inputs, state: torch.Tensor | None, lengths: list[int] | None, dtype: torch.dtype, backend: str
) -> list[torch.Tensor]:
    """Output, final state and the gradients of the inputs and of the initial state."""
    leaves = [x.to(DEVICE, dtype).requires_grad_() for x in xs]
    initial = None if state is None else state.to(DEVICE, torch.promote_types(dtype, torch.float32)).requires_grad_()
    cu_seqlens = None if lengths is None else torch.tensor([0, *lengths], device=DEVICE).cumsum(0)
    run = RUN[len(xs)]
    o, final = run(*leaves, initial_state=initial, output_final_state=True, cu_seqlens=cu_seqlens, backend=backend)
    assert final is not None and o.dtype == dtype
    weights = [torch.linspace(-1, 1, x.numel(), device=DEVICE).view_as(x) for x in (o, final)]
    loss = sum((x.to(final.dtype) * weight).sum() for x, weight in zip((o, final), weights, strict=True))
    grads = torch.autograd.grad(loss, [*leaves, *([] if initial is None else [initial])])
    return [o.detach(), final.detach(), *grads]


def assert_matches(
    xs: Inputs, state: torch.Tensor | None, lengths: list[int] | None, dtype: torch.dtype = torch.float32
) -> None:
    xs = tuple(x.to(dtype) for x in xs)
    expected = results(xs, state, lengths, torch.float64, "reference")
    for exact, ours in zip(expected, results(xs, state, lengths, dtype, "triton"), strict=True):
        torch.testing.assert_close(ours.double(), exact, atol=TOLERANCE[dtype] * float(exact.abs().max() + 1), rtol=0)


draws = pytest.mark.parametrize("draw", [inputs, rwkv7_inputs], ids=["gated_delta_rule", "rwkv7"])


@draws
@pytest.mark.parametrize("strength", [1e-3, 30.0], ids=["weak", "strong"])
def test_packed_sequences_with_a_state(draw: Callable[..., Inputs], strength: float) -> None:
    lengths = [1, 33, 0, 17]
    state = torch.randn(len(lengths), 1, 9, 7, generator=torch.Generator().manual_seed(1))
    assert_matches(draw(sum(lengths), 1, 9, 7, strength), state, lengths)


@draws
@pytest.mark.parametrize("n_token", [1, 15, 32, 33])
def test_two_rows_without_a_state(draw: Callable[..., Inputs], n_token: int) -> None:
    assert_matches(draw(n_token, 1, 17, 5, 1.0, 2 if n_token < 32 else 1), None, None)


@draws
def test_wide_heads_take_several_blocks(draw: Callable[..., Inputs]) -> None:
    assert_matches(draw(9, 2, 33, 70, 1.0), None, None)
    assert_matches(draw(17, 1, 130, 3, 1.0), None, None)


def test_delta_rule_is_the_gated_one_without_decay() -> None:
    q, k, v, _, beta = inputs(70, 1, 12, 9, 0.0)
    assert_matches((q, k, v, beta), torch.ones(1, 1, 12, 9), None)


def test_repeated_keys_written_in_full_do_not_blow_up() -> None:
    """I + A is as badly conditioned as it gets: each token undoes the one before."""
    q, k, v, g, beta = inputs(64, 1, 16, 8, 0.0)
    assert_matches((q, k[:, :1].expand_as(k), v, g, torch.ones_like(beta)), None, None)


@draws
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(draw: Callable[..., Inputs], dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and DEVICE.type == "cpu":
        pytest.skip("Triton's interpreter has no bf16 products")
    assert_matches(draw(70, 1, 24, 16, 1.0), torch.ones(1, 1, 24, 16), None, dtype)


@draws
@pytest.mark.parametrize("cut", [1, 16])
def test_state_carries_across_a_cut(draw: Callable[..., Inputs], cut: int) -> None:
    xs = tuple(x.to(DEVICE) for x in draw(33, 1, 10, 6, 0.1))
    run = RUN[len(xs)]
    whole, final = run(*xs, output_final_state=True, backend="triton")
    first, carried = run(*(x[:, :cut] for x in xs), output_final_state=True, backend="triton")
    second, last = run(*(x[:, cut:] for x in xs), initial_state=carried, output_final_state=True, backend="triton")
    torch.testing.assert_close(torch.cat([first, second], 1), whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(last, final, atol=1e-5, rtol=1e-5)


def test_what_triton_does_not_take_is_an_error() -> None:
    with pytest.raises(KernelError, match="float64"):
        gated_delta_rule(*(x.double() for x in inputs(2, 1, 4, 4, 1.0)), backend="triton")
    with pytest.raises(KernelError, match="300"):
        gated_delta_rule(*(x.to(DEVICE) for x in inputs(2, 1, 300, 4, 1.0)), backend="triton")
