"""linear_attention, simple_gla, gla, rwkv6: chunked and Triton equal the reference, with states and all gradients."""

from __future__ import annotations

import types
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lindoc.core.errors import KernelError
from lindoc.kernels import gla, linear_attention, rwkv6, simple_gla
from lindoc.kernels.backend import triton_runs_on

pytestmark = pytest.mark.usefixtures("one_thread")

H, K, V = 3, 7, 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # of Triton; else all is on the CPU
needs_triton = pytest.mark.skipif(not triton_runs_on(DEVICE), reason="needs Triton")
RATES = torch.tensor([0.01, 1.0, 30.0])  # a weak, a middling and a strong decay: one a head

OPERATORS: dict[str, Callable[..., Any]] = {
    "elu1": linear_attention,
    "relu2": partial(linear_attention, feature_map="relu2"),
    "identity": partial(linear_attention, feature_map="identity", normalize=False, scale=0.7),
    "performer": partial(linear_attention, feature_map="performer", n_feature=9, seed=3),
    "no_decay": simple_gla,
    "fixed_decay": lambda q, k, v, g_gamma, **options: simple_gla(q, k, v, g_gamma=g_gamma, **options),
    "simple_gla": simple_gla,
    "gla": gla,
    "rwkv6": rwkv6,
}
SHAPES = [(2, 1, False), (2, 1, True), (1, 15, True), (2, 16, False), (1, 17, True), (2, 63, True), (1, 64, False)]
SHAPES += [(1, 65, True), (2, 65, False)]  # rows, tokens, with an initial state
NORMALISED = ("elu1", "relu2", "performer")


def inputs(name: str, rows: int, tokens: int, seed: int = 0) -> list[torch.Tensor]:
    """q, k, v and what else the operator takes, in fp64."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    q, k, v = normal(rows, tokens, H, K), normal(rows, tokens, H, K), normal(rows, tokens, H, V)
    scalar = -normal(rows, tokens, H).abs() * RATES.double()
    vector = -normal(rows, tokens, H, K).abs() * RATES.double()[:, None]
    more = {"fixed_decay": [-RATES.double()], "simple_gla": [scalar], "gla": [vector], "rwkv6": [vector, normal(H, K)]}
    return [q, k, v, *more.get(name, [])]


def starting(name: str, sequences: int) -> list[torch.Tensor]:
    """The initial state's tensors: S, and z where the operator normalises."""
    draw = torch.Generator().manual_seed(9)
    width = 9 if name == "performer" else K
    s = torch.randn(sequences, H, width, V, dtype=torch.float64, generator=draw)
    z = torch.rand(sequences, H, width, dtype=torch.float64, generator=draw)
    return [s, z] if name in NORMALISED else [s]


def run(name: str, tensors: list[torch.Tensor], state: list[torch.Tensor], **options: Any) -> list[torch.Tensor]:
    """The output and the final state's tensors."""
    initial = tuple(state) if len(state) == 2 else state[0] if state else None
    o, final = OPERATORS[name](*tensors, initial_state=initial, output_final_state=True, **options)
    return [o, *final] if isinstance(final, tuple) else [o, final]


def with_gradients(
    name: str, tensors: list[torch.Tensor], state: list[torch.Tensor], **options: Any
) -> list[torch.Tensor]:
    leaves = [x.clone().requires_grad_() for x in (*tensors, *state)]
    results = run(name, leaves[: len(tensors)], leaves[len(tensors) :], **options)
    weight = torch.linspace(-1, 1, results[0].numel()).view_as(results[0]).to(results[0])
    loss = (results[0] * weight).sum() + sum(final.square().sum() for final in results[1:])
    return [*results, *torch.autograd.grad(loss, leaves)]


def borders(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def assert_all_close(actual: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    for i, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        scale = theirs.abs().max().clamp(min=1)
        torch.testing.assert_close(
            ours.double().cpu() / scale,
            theirs.double() / scale,
            atol=tolerance,
            rtol=0,
            msg=lambda m, i=i: f"result {i}: {m}",
        )


@pytest.mark.parametrize(("rows", "tokens", "with_state"), SHAPES)
@pytest.mark.parametrize("name", OPERATORS)
def test_chunked_matches_reference(name: str, rows: int, tokens: int, with_state: bool) -> None:
    tensors, state = inputs(name, rows, tokens), starting(name, rows) if with_state else []
    expected = with_gradients(name, tensors, state, backend="reference")
    assert_all_close(with_gradients(name, tensors, state, backend="chunked"), expected, 1e-11)


@pytest.mark.parametrize("name", ["elu1", "simple_gla", "gla", "rwkv6"])
def test_chunked_matches_reference_on_a_long_text(name: str) -> None:
    tensors, state = inputs(name, 1, 1000), starting(name, 1)
    expected = with_gradients(name, tensors, state, backend="reference")
    assert_all_close(with_gradients(name, tensors, state, backend="chunked"), expected, 1e-11)


@pytest.mark.parametrize("lengths", [[17, 63, 1], [0, 2, 65, 0]], ids=str)
@pytest.mark.parametrize("name", OPERATORS)
def test_packed_sequences_do_not_see_each_other(name: str, lengths: list[int]) -> None:
    tensors, state = inputs(name, 1, sum(lengths)), starting(name, len(lengths))
    expected = with_gradients(name, tensors, state, backend="reference", cu_seqlens=borders(lengths))
    actual = with_gradients(name, tensors, state, backend="chunked", cu_seqlens=borders(lengths))
    assert_all_close(actual, expected, 1e-11)
    parts = [x.split(lengths, 1) if x.dim() > 2 else [x] * len(lengths) for x in tensors]
    last = len(lengths) - 1 if lengths[-1] else len(lengths) - 2
    alone = run(name, [part[last] for part in parts], [x[last : last + 1] for x in state], backend="reference")
    assert_all_close([actual[0][:, sum(lengths[:last]) :]], alone[:1], 1e-11)
    for n in range(1, len(alone)):
        assert_all_close([actual[n][last : last + 1]], [alone[n]], 1e-11)
        assert lengths[0] or torch.equal(actual[n][0], state[n - 1][0])  # an empty sequence leaves its state


@given(cut=st.integers(1, 79), seed=st.integers(0, 99), name=st.sampled_from(list(OPERATORS)))
@settings(max_examples=30, deadline=None)
def test_state_carries_across_a_cut(cut: int, seed: int, name: str) -> None:
    tensors = inputs(name, 2, 80, seed)
    whole = run(name, tensors, [])
    head = run(name, [x[:, :cut] if x.dim() > 2 else x for x in tensors], [])
    tail = run(name, [x[:, cut:] if x.dim() > 2 else x for x in tensors], head[1:])
    assert_all_close([torch.cat([head[0], tail[0]], 1), *tail[1:]], whole, 1e-12)


@pytest.mark.parametrize("name", OPERATORS)
def test_one_token_at_a_time_is_one_pass(name: str) -> None:
    tensors, state, outputs = inputs(name, 2, 20), starting(name, 2), []
    whole = run(name, tensors, state)
    for t in range(20):
        o, *state = run(name, [x[:, t : t + 1] if x.dim() > 2 else x for x in tensors], state)
        outputs.append(o)
    assert_all_close([torch.cat(outputs, 1), *state], whole, 1e-12)


# Bounds on the largest error, in units of the largest entry of the fp64 result on the same rounded inputs: in fp32 a
# few roundings of sums over 130 tokens, in bf16 and fp16 half a unit of the output's last place, and the same of fp32.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1e-3), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("name", OPERATORS)
def test_low_precision(name: str, dtype: torch.dtype, tolerance: float) -> None:
    rounded = [x.to(dtype) for x in inputs(name, 1, 130)]
    state = [x.float() for x in starting(name, 1)]
    expected = run(name, [x.double() for x in rounded], [x.double() for x in state], backend="reference")
    for backend in ("reference", "chunked"):
        o, *final = run(name, rounded, state, backend=backend)
        assert o.dtype == dtype and all(x.dtype == torch.float32 for x in final)
        assert_all_close([o, *final], expected, 8 * tolerance if name == "performer" else tolerance)


@pytest.mark.parametrize("name", ["simple_gla", "gla", "rwkv6"])
def test_a_decay_of_minus_infinity_forgets_all(name: str) -> None:
    tensors = inputs(name, 1, 70)
    tensors[3][:, 40] = -torch.inf
    expected = with_gradients(name, tensors, [], backend="reference")
    actual = with_gradients(name, tensors, [], backend="chunked")
    assert_all_close(actual, expected, 1e-11)
    after = run(name, [x[:, 41:] if x.dim() > 2 else x for x in tensors], [torch.zeros(1, H, K, V).double()])
    assert not torch.allclose(after[0], actual[0][:, 41:])  # token 40 itself is written


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninitialised buffers are full of NaN, none of which may reach a result or a gradient."""

    def poison(make: Callable[..., torch.Tensor], *size: Any, **options: Any) -> torch.Tensor:
        out = make(*size, **options)
        return out.fill_(torch.nan) if out.is_floating_point() else out

    fake = types.ModuleType("torch")
    fake.__dict__.update(vars(torch), empty=partial(poison, torch.empty), empty_like=partial(poison, torch.empty_like))
    modules = ["packing", *(f"{name}.chunked" for name in ("gla", "linear_attention", "rwkv6", "simple_gla"))]
    if triton_runs_on(DEVICE):
        modules += ["fused", "gla.fused", "simple_gla.fused"]
    for module in modules:
        monkeypatch.setattr(import_module(f"lindoc.kernels.{module}"), "torch", fake)
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda *size, **options: poison(new_empty, *size, **options))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("name", OPERATORS)
def test_every_output_is_written(name: str) -> None:
    results = with_gradients(name, inputs(name, 1, 83), starting(name, 3), cu_seqlens=borders([17, 0, 66]))
    assert all(torch.isfinite(x).all() for x in results)


# Triton: fp32 (its interpreter has no bf16) on tiles of 32 tokens, four of which are a segment; sums of log decays as
# strong as 50 a token, the strongest that count, cost some of fp32's digits. fp16: see test_low_precision.
@needs_triton
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("lengths", [[1], [17, 0, 129]], ids=str)
@pytest.mark.parametrize("name", ["elu1", "simple_gla", "gla", "rwkv6"])
def test_triton_matches_reference(name: str, lengths: list[int]) -> None:
    tensors, state = inputs(name, 1, sum(lengths)), starting(name, len(lengths))
    expected = with_gradients(name, tensors, state, backend="reference", cu_seqlens=borders(lengths))
    tensors, state = ([x.float().to(DEVICE) for x in xs] for xs in (tensors, state))
    actual = with_gradients(name, tensors, state, backend="triton", cu_seqlens=borders(lengths).to(DEVICE))
    assert_all_close(actual, expected, 3e-5)


@needs_triton
@pytest.mark.parametrize("name", ["elu1", "fixed_decay", "gla"])
def test_triton_in_fp16_without_a_state(name: str) -> None:
    tensors = inputs(name, 2, 40)
    tensors = [*(x.half() for x in tensors[:3]), *(x.float() for x in tensors[3:])]
    expected = with_gradients(name, [x.double() for x in tensors], [], backend="reference")
    actual = with_gradients(name, [x.to(DEVICE) for x in tensors], [], backend="triton")
    assert [x.dtype for x in actual[-len(tensors) :]] == [x.dtype for x in tensors]
    assert_all_close(actual, expected, 2e-3)


@needs_triton
@pytest.mark.parametrize("name", ["simple_gla", "gla"])
def test_triton_forgets_all_at_minus_infinity(name: str) -> None:
    tensors = inputs(name, 1, 40)
    tensors[3][:, 20] = -torch.inf
    expected = with_gradients(name, tensors, [], backend="reference")
    actual = with_gradients(name, [x.float().to(DEVICE) for x in tensors], [], backend="triton")
    assert_all_close(actual, expected, 3e-5)


def test_decays_are_a_masked_matrix() -> None:
    """Token t reads token s through the product of the decays of s + 1 … t (gla) or s + 1 … t - 1 (rwkv6)."""
    q, k, v, g = inputs("gla", 1, 20)
    u = inputs("rwkv6", 1, 20)[4]
    after = g.cumsum(1)
    for operator, read, own in ((gla, after, torch.ones(H, K)), (rwkv6, after - g, u)):
        gap = read[:, :, None] - after[:, None]  # (B, T, S, H, K)
        earlier = torch.ones(20, 20, dtype=torch.bool).tril(-1)[None, :, :, None, None]
        decay = torch.where(earlier, gap.clamp(max=0).exp(), torch.eye(20)[None, :, :, None, None] * own)
        weights = torch.einsum("bthk,bshk,btshk->bhts", q, k, decay)
        more = [g] if operator is gla else [g, u]
        o, _ = operator(q, k, v, *more, scale=1.0, backend="reference")
        assert_all_close([o], [torch.einsum("bhts,bshv->bthv", weights, v)], 1e-12)
    same, _ = gla(q, k, v, g[..., :1].expand_as(g), backend="reference")
    assert_all_close([simple_gla(q, k, v, g[..., 0], backend="reference")[0]], [same], 1e-12)


def test_wrong_options_are_refused() -> None:
    q, k, v, g = inputs("simple_gla", 1, 3)
    with pytest.raises(KernelError, match="not both"):
        simple_gla(q, k, v, g, g[0, 0])
    with pytest.raises(KernelError, match="initial_state is"):
        simple_gla(q, k, v, g, initial_state=torch.zeros(2, H, K, V))
