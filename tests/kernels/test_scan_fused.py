"""The selective scan and WKV-4 in Triton equal the equation in float64: outputs, final states, all gradients.

Without a GPU they run under Triton's interpreter (conftest.py), which scans element by element: sizes are small.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

from lindoc.kernels.backend import triton_runs_on
from lindoc.kernels.selective_scan import selective_scan
from lindoc.kernels.wkv4 import wkv4

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
pytestmark = [
    pytest.mark.skipif(not triton_runs_on(DEVICE), reason="needs Triton"),
    pytest.mark.usefixtures("poisoned"),
]

# sums are kept in fp32 whatever the inputs; results are rounded to the type of the inputs
TOLERANCE = {torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}

Tensors = dict[str, torch.Tensor]
Operator = Callable[..., tuple[torch.Tensor, torch.Tensor | None]]


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def scan_inputs(rows: int, n_token: int, strength: float) -> Tensors:
    d, n = 3, 2
    u, delta, z = (normal(seed, rows, n_token, d) for seed in range(3))
    b, c = normal(3, rows, n_token, n), normal(4, rows, n_token, n)
    a, skip, bias = -strength * normal(5, d, n).abs(), normal(6, d), normal(7, d)
    return {"u": u, "delta": delta, "A": a, "B": b, "C": c, "D": skip, "z": z, "delta_bias": bias}


def wkv4_inputs(rows: int, n_token: int, strength: float) -> Tensors:
    k, v = 5 * normal(0, rows, n_token, 3), normal(1, rows, n_token, 3)
    return {"k": k, "v": v, "w": -strength * normal(2, 3).abs(), "u": normal(3, 3)}


def state_of(run: Operator, n: int) -> torch.Tensor:
    """(N, 3, C), (N, D, N): with a positive sum of weights for WKV-4."""
    if run is wkv4:
        return torch.stack([normal(8, n, 3), normal(9, n, 3).abs() + 0.1, normal(10, n, 3)], 1)
    return normal(8, n, 3, 2)


softplus_scan = partial(selective_scan, delta_softplus=True)
operators = pytest.mark.parametrize(
    ("run", "draw"), [(softplus_scan, scan_inputs), (wkv4, wkv4_inputs)], ids=["selective_scan", "wkv4"]
)


def results(
    run: Operator, xs: Tensors, state: torch.Tensor | None, lengths: list[int] | None, dtype: torch.dtype, backend: str
) -> list[torch.Tensor]:
    """Output, final state and the gradients of the inputs and of the initial state."""
    leaves = {name: x.to(DEVICE, dtype).requires_grad_() for name, x in xs.items()}
    initial = None if state is None else state.to(DEVICE, torch.promote_types(dtype, torch.float32)).requires_grad_()
    cu_seqlens = None if lengths is None else torch.tensor([0, *lengths], device=DEVICE).cumsum(0)
    o, final = run(**leaves, initial_state=initial, output_final_state=True, cu_seqlens=cu_seqlens, backend=backend)
    assert final is not None and o.dtype == dtype
    weights = [torch.linspace(-1, 1, x.numel(), device=DEVICE).view_as(x) for x in (o, final)]
    loss = sum((x.to(final.dtype) * weight).sum() for x, weight in zip((o, final), weights, strict=True))
    grads = torch.autograd.grad(
        loss, [*leaves.values(), *([] if initial is None else [initial])], allow_unused=True, materialize_grads=True
    )
    return [o.detach(), final.detach(), *grads]


def assert_matches(
    run: Operator, xs: Tensors, state: torch.Tensor | None, lengths: list[int] | None, dtype: torch.dtype
) -> None:
    xs = {name: x.to(dtype) for name, x in xs.items()}
    expected = results(run, xs, state, lengths, torch.float64, "reference")
    for exact, ours in zip(expected, results(run, xs, state, lengths, dtype, "triton"), strict=True):
        torch.testing.assert_close(ours.double(), exact, atol=TOLERANCE[dtype] * float(exact.abs().max() + 1), rtol=0)


@operators
@pytest.mark.parametrize("strength", [1e-3, 30.0], ids=["weak", "strong"])
def test_packed_sequences_with_a_state(run: Operator, draw: Callable[..., Tensors], strength: float) -> None:
    lengths = [1, 33, 0, 2]
    assert_matches(run, draw(1, sum(lengths), strength), state_of(run, len(lengths)), lengths, torch.float32)


@operators
@pytest.mark.parametrize("n_token", [1, 32, 65])
def test_rows_without_a_state(run: Operator, draw: Callable[..., Tensors], n_token: int) -> None:
    assert_matches(run, draw(2 if n_token == 1 else 1, n_token, 1.0), None, None, torch.float32)


@operators
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_low_precision(run: Operator, draw: Callable[..., Tensors], dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and DEVICE.type == "cpu":
        pytest.skip("Triton's interpreter is not used for bf16")
    assert_matches(run, draw(1, 40, 1.0), state_of(run, 1), None, dtype)
