"""The delta rules, RWKV-7, the selective scan and WKV-4: the chunked form equals the equation, on ugly shapes.

Outputs, final states and all gradients in float64; heads of 9 by 7 and channels of 5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lindoc.core.errors import KernelError
from lindoc.kernels.delta_rule import delta_rule
from lindoc.kernels.gated_delta_rule import gated_delta_rule
from lindoc.kernels.rwkv7 import rwkv7
from lindoc.kernels.selective_scan import selective_scan
from lindoc.kernels.wkv4 import wkv4

H, K, V = 2, 9, 7
CHANNELS, N = 5, 3
LENGTHS = [1, 15, 16, 17, 63, 64, 65]
WEAK, STRONG = 1e-3, 50.0

Tensors = dict[str, torch.Tensor]


class Draw:
    """Random float64 tensors from one seed."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=self.generator)

    def unit(self, *shape: int) -> torch.Tensor:
        return F.normalize(self.normal(*shape), dim=-1)

    def decay(self, strength: float, *shape: int) -> torch.Tensor:
        return -strength * self.normal(*shape).abs()


def delta_inputs(draw: Draw, b: int, t: int, strength: float) -> Tensors:
    q, k, v = draw.normal(b, t, H, K), draw.unit(b, t, H, K), draw.normal(b, t, H, V)
    return {"q": q, "k": k, "v": v, "beta": draw.normal(b, t, H).sigmoid()}


def gated_inputs(draw: Draw, b: int, t: int, strength: float) -> Tensors:
    return {**delta_inputs(draw, b, t, strength), "g": draw.decay(strength, b, t, H)}


def rwkv7_inputs(draw: Draw, b: int, t: int, strength: float) -> Tensors:
    r, k, v = draw.normal(b, t, H, K), draw.normal(b, t, H, K), draw.normal(b, t, H, V)
    kk, rate = draw.unit(b, t, H, K), draw.normal(b, t, H, K).sigmoid()
    return {"r": r, "w": draw.decay(strength, b, t, H, K), "k": k, "v": v, "a": -kk, "b": kk * rate}


def scan_inputs(draw: Draw, b: int, t: int, strength: float) -> Tensors:
    u, delta, z = (draw.normal(b, t, CHANNELS) for _ in range(3))
    a, d, bias = draw.decay(strength, CHANNELS, N), draw.normal(CHANNELS), draw.normal(CHANNELS)
    return {
        "u": u, "delta": delta, "A": a, "B": draw.normal(b, t, N), "C": draw.normal(b, t, N),
        "D": d, "z": z, "delta_bias": bias,
    }  # fmt: skip


def wkv4_inputs(draw: Draw, b: int, t: int, strength: float) -> Tensors:
    k, v = 4 * draw.normal(b, t, CHANNELS), draw.normal(b, t, CHANNELS)
    return {"k": k, "v": v, "w": draw.decay(strength, CHANNELS), "u": draw.normal(CHANNELS)}


def softplus_scan(**options: object) -> tuple[torch.Tensor, torch.Tensor | None]:
    return selective_scan(delta_softplus=True, **options)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    run: Callable[..., tuple[torch.Tensor, torch.Tensor | None]]
    inputs: Callable[[Draw, int, int, float], Tensors]
    state: tuple[int, ...]
    weights: frozenset[str] = frozenset()  # inputs that tokens share


CASES = {
    "delta_rule": Case(delta_rule, delta_inputs, (H, K, V)),
    "gated_delta_rule": Case(gated_delta_rule, gated_inputs, (H, K, V)),
    "rwkv7": Case(rwkv7, rwkv7_inputs, (H, K, V)),
    "selective_scan": Case(softplus_scan, scan_inputs, (CHANNELS, N), frozenset({"A", "D", "delta_bias"})),
    "wkv4": Case(wkv4, wkv4_inputs, (3, CHANNELS), frozenset({"w", "u"})),
}
case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def state_of(case: Case, draw: Draw, n: int) -> torch.Tensor:
    state = draw.normal(n, *case.state)
    if case.run is wkv4:
        state[:, 1] = state[:, 1].abs() + 0.1
    return state


def borders(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def assert_matches(case: Case, inputs: Tensors, state: torch.Tensor | None, cu_seqlens: torch.Tensor | None) -> None:
    """Outputs, final state and the gradients of everything, chunked against reference."""
    leaves = {name: x.requires_grad_() for name, x in inputs.items()}
    initial = None if state is None else state.requires_grad_()
    results = []
    for backend in ("reference", "chunked"):
        o, final = case.run(
            **leaves, initial_state=initial, output_final_state=True, cu_seqlens=cu_seqlens, backend=backend
        )
        assert final is not None and final.dtype == torch.float64
        loss = sum((x * torch.linspace(-1, 1, x.numel(), dtype=x.dtype).view_as(x)).sum() for x in (o, final))
        grads = torch.autograd.grad(
            loss, [*leaves.values(), *([] if initial is None else [initial])], allow_unused=True, materialize_grads=True
        )
        results.append([o, final, *grads])
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-9)


@case
@pytest.mark.parametrize(("strength", "with_state"), [(WEAK, True), (STRONG, False)], ids=["weak-state", "strong"])
@pytest.mark.parametrize("n_token", LENGTHS)
def test_chunked_matches_reference(case: Case, n_token: int, strength: float, with_state: bool) -> None:
    draw = Draw(n_token)
    assert_matches(case, case.inputs(draw, 1, n_token, strength), state_of(case, draw, 1) if with_state else None, None)


@case
@pytest.mark.parametrize(("strength", "with_state"), [(WEAK, False), (STRONG, True)], ids=["weak", "strong-state"])
def test_chunked_matches_reference_on_packed_sequences(case: Case, strength: float, with_state: bool) -> None:
    lengths = [0, 17, 1, 65, 0, 15]
    draw = Draw(3)
    state = state_of(case, draw, len(lengths)) if with_state else None
    assert_matches(case, case.inputs(draw, 1, sum(lengths), strength), state, borders(lengths))


@case
def test_chunked_matches_reference_over_a_thousand_tokens(case: Case) -> None:
    draw = Draw(4)
    assert_matches(case, case.inputs(draw, 1, 1000, 0.1), state_of(case, draw, 1), None)


@case
@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_packed_sequences_are_the_rows_of_a_batch(case: Case, backend: str) -> None:
    draw = Draw(5)
    inputs, state = case.inputs(draw, 3, 18, 1.0), state_of(case, draw, 3)
    o, final = case.run(**inputs, initial_state=state, output_final_state=True, backend=backend)
    packed = {name: x if name in case.weights else x.flatten(0, 1)[None] for name, x in inputs.items()}
    o_packed, final_packed = case.run(
        **packed, initial_state=state, output_final_state=True, cu_seqlens=borders([18] * 3), backend=backend
    )
    torch.testing.assert_close(o_packed.view_as(o), o, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(final_packed, final, atol=1e-12, rtol=1e-10)


@case
@given(cut=st.integers(0, 70), seed=st.integers(0, 99))
@settings(max_examples=8, deadline=None)
def test_state_carries_across_a_cut(case: Case, cut: int, seed: int) -> None:
    draw = Draw(seed)
    inputs, carried = case.inputs(draw, 2, 70, 1.0), state_of(case, draw, 2)
    whole, final = case.run(**inputs, initial_state=carried, output_final_state=True)
    parts = []
    for tokens in (slice(0, cut), slice(cut, 70)):
        part = {name: x if name in case.weights else x[:, tokens] for name, x in inputs.items()}
        o, carried_on = case.run(**part, initial_state=carried, output_final_state=True)
        assert carried_on is not None
        carried = carried_on
        parts.append(o)
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(carried, final, atol=1e-12, rtol=1e-10)


@case
@pytest.mark.parametrize(
    ("dtype", "share"), [(torch.bfloat16, 2**-8), (torch.float16, 2**-11), (torch.float32, 2**-18)], ids=str
)
def test_low_precision_costs_one_rounding(case: Case, dtype: torch.dtype, share: float) -> None:
    """Against float64 on the same rounded inputs: half a unit of the output's type, and fp32's noise on the state."""
    draw = Draw(6)
    inputs = {name: x.to(dtype) for name, x in case.inputs(draw, 2, 65, 1.0).items()}
    state = state_of(case, draw, 2).float()
    o, final = case.run(**inputs, initial_state=state, output_final_state=True)
    exact = {name: x.double() for name, x in inputs.items()}
    o_exact, final_exact = case.run(**exact, initial_state=state.double(), output_final_state=True, backend="reference")
    assert o.dtype == dtype and final is not None and final.dtype == torch.float32 and final_exact is not None
    torch.testing.assert_close(o.double(), o_exact, atol=2e-5, rtol=share)
    torch.testing.assert_close(final.double(), final_exact, atol=2e-5, rtol=1e-5)


@case
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_every_output_is_written(case: Case, backend: str) -> None:
    o, final = case.run(
        **case.inputs(Draw(7), 1, 20, 1.0),
        cu_seqlens=borders([3, 0, 17]), output_final_state=True, backend=backend,
    )  # fmt: skip
    assert torch.isfinite(o).all() and final is not None and torch.isfinite(final).all()


@case
def test_a_state_is_returned_only_when_asked_for(case: Case) -> None:
    assert case.run(**case.inputs(Draw(8), 1, 2, 1.0))[1] is None


@case
def test_unknown_backend_names_the_choices(case: Case) -> None:
    with pytest.raises(KernelError, match="'trition'; available: auto, reference, chunked"):
        case.run(**case.inputs(Draw(8), 1, 2, 1.0), backend="trition")
