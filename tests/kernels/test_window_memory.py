"""Chunked and Triton window memories equal the reference, with state and gradients, on ugly shapes and any cut."""

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
from lindoc.kernels import window_memory
from lindoc.kernels.backend import triton_runs_on

pytestmark = pytest.mark.usefixtures("one_thread")

H, K, V = 3, 8, 5
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")  # of Triton; else all is on the CPU
needs_triton = pytest.mark.skipif(not triton_runs_on(DEVICE), reason="needs Triton")


def inputs(lengths: list[int], seed: int = 0, key: int = K, value: int = V) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    n = sum(lengths)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    q, k = normal(n, H, key).softmax(-1), normal(n, H, key).softmax(-1)
    return q, k, normal(n, H, value), -normal(H).abs(), normal(n, H).sigmoid()


def state(documents: int, key: int = K, value: int = V) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(9)
    s = torch.randn(documents, H, key, value, dtype=torch.float64, generator=draw)
    return s, torch.rand(documents, H, key, dtype=torch.float64, generator=draw)


def borders(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


def with_gradients(
    tensors: tuple[torch.Tensor, ...],
    initial: tuple[torch.Tensor, ...],
    lengths: list[int],
    documents: list[int],
    backend: str,
) -> list[torch.Tensor]:
    """The output, the final state, and the gradients to all inputs and the initial state."""
    leaves = [x.clone().requires_grad_() for x in (*tensors, *initial)]
    o, final = window_memory(
        *leaves[:5],
        cu_seqlens=borders(lengths).to(leaves[0].device),
        cu_documents=borders(documents).to(leaves[0].device),
        initial_state=(leaves[5], leaves[6]) if initial else None,
        output_final_state=True,
        backend=backend,
    )
    assert final is not None
    weight = torch.linspace(-1, 1, o.numel()).view_as(o).to(o)
    loss = (o * weight).sum() + final[0].square().sum() + final[1].sum()
    return [o, *final, *torch.autograd.grad(loss, leaves)]


SHAPES = [([1], [1]), ([1, 15, 16], [3]), ([17, 63, 1], [1, 2]), ([64, 65, 0, 3], [2, 2]), ([5, 2, 9], [0, 3])]


@pytest.mark.parametrize("with_state", [False, True], ids=["empty", "initial_state"])
@pytest.mark.parametrize(("lengths", "documents"), SHAPES)
def test_chunked_matches_reference(lengths: list[int], documents: list[int], with_state: bool) -> None:
    tensors, initial = inputs(lengths), state(len(documents)) if with_state else ()
    results = [with_gradients(tensors, initial, lengths, documents, backend) for backend in ("reference", "chunked")]
    for expected, actual in zip(*results, strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-10, rtol=1e-9)


@given(cut=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_state_carries_across_a_cut(cut: int, seed: int) -> None:
    lengths = [4, 1, 7, 3, 2, 6]
    q, k, v, g, beta = inputs(lengths, seed)
    whole, final = window_memory(
        q, k, v, g, beta, cu_seqlens=borders(lengths), cu_documents=borders([6]), output_final_state=True
    )
    n, carried, parts = sum(lengths[:cut]), None, []
    for tokens, windows in ((slice(0, n), lengths[:cut]), (slice(n, None), lengths[cut:])):
        o, carried = window_memory(
            q[tokens], k[tokens], v[tokens], g, beta[tokens],
            cu_seqlens=borders(windows), cu_documents=borders([len(windows)]),
            initial_state=carried, output_final_state=True,
        )  # fmt: skip
        parts.append(o)
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-12, rtol=1e-10)
    assert final is not None and carried is not None
    torch.testing.assert_close(carried[0], final[0], atol=1e-12, rtol=1e-10)


def test_every_output_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninitialised buffers are poisoned; no NaN may reach the result."""
    empty = torch.empty

    def poisoned(*size: int, **options: object) -> torch.Tensor:
        out = empty(*size, **options)  # type: ignore[call-overload]
        return out.fill_(float("nan")) if out.is_floating_point() else out

    monkeypatch.setattr(torch, "empty", poisoned)
    lengths = [3, 1, 4]
    o, _ = window_memory(*inputs(lengths), cu_seqlens=borders(lengths), cu_documents=borders([3]))
    assert torch.isfinite(o).all()


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton's uninitialised buffers are full of NaN, none of which may reach a result or a gradient."""

    def poison(make: Callable[..., torch.Tensor], *size: Any, **options: Any) -> torch.Tensor:
        return make(*size, **options).fill_(torch.nan)

    fake = types.ModuleType("torch")
    fake.__dict__.update(vars(torch), empty=partial(poison, torch.empty), empty_like=partial(poison, torch.empty_like))
    monkeypatch.setattr(import_module("lindoc.kernels.window_memory.fused"), "torch", fake)


def assert_all_close(actual: list[torch.Tensor], expected: list[torch.Tensor], tolerance: float) -> None:
    """Within `tolerance` in units of the largest entry of each expected tensor, or of 1."""
    for i, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        scale = theirs.abs().max().clamp(min=1)
        ours = ours.double().cpu() / scale
        torch.testing.assert_close(ours, theirs / scale, atol=tolerance, rtol=0, msg=lambda m, i=i: f"result {i}: {m}")


def run_triton(
    tensors: tuple[torch.Tensor, ...], initial: tuple[torch.Tensor, ...], lengths: list[int], documents: list[int]
) -> list[torch.Tensor]:
    tensors, initial = (tuple(x.to(DEVICE) for x in xs) for xs in (tensors, initial))
    return with_gradients(tensors, initial, lengths, documents, "triton")


# In fp32, on tiles of 32 tokens: a few roundings of sums.
@needs_triton
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("with_state", [False, True], ids=["empty", "initial_state"])
@pytest.mark.parametrize(("lengths", "documents"), SHAPES, ids=str)
def test_triton_matches_reference(lengths: list[int], documents: list[int], with_state: bool) -> None:
    tensors, initial = inputs(lengths), state(len(documents)) if with_state else ()
    expected = with_gradients(tensors, initial, lengths, documents, "reference")
    tensors, initial = (tuple(x.float() for x in xs) for xs in (tensors, initial))
    assert_all_close(run_triton(tensors, initial, lengths, documents), expected, 1e-5)


@needs_triton
@pytest.mark.usefixtures("poisoned")
def test_triton_scans_many_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("lindoc.kernels.window_memory.fused"), "BLOCK", 16)
    lengths, documents = [1, *[2, 1, 3] * 6, 0, 17], [1, 18, 0, 2]
    tensors, initial = inputs(lengths), state(len(documents))
    tensors[3].mul_(0.1)
    expected = with_gradients(tensors, initial, lengths, documents, "reference")
    tensors, initial = (tuple(x.float() for x in xs) for xs in (tensors, initial))
    assert_all_close(run_triton(tensors, initial, lengths, documents), expected, 1e-5)


@needs_triton
@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("key", "value"), [(17, 70), (130, 1)])
def test_triton_on_wide_heads(key: int, value: int) -> None:
    lengths, documents = [17, 20], [2]
    tensors, initial = inputs(lengths, 0, key, value), state(1, key, value)
    expected = with_gradients(tensors, initial, lengths, documents, "reference")
    tensors, initial = (tuple(x.float() for x in xs) for xs in (tensors, initial))
    assert_all_close(run_triton(tensors, initial, lengths, documents), expected, 1e-5)


@needs_triton
def test_triton_without_windows_leaves_the_state() -> None:
    tensors, initial = (tuple(x.float().to(DEVICE) for x in xs) for xs in (inputs([]), state(2)))
    nothing = {"cu_seqlens": borders([]).to(DEVICE), "cu_documents": borders([0, 0]).to(DEVICE)}
    o, final = window_memory(*tensors, **nothing, initial_state=initial, output_final_state=True, backend="triton")
    assert o.shape == (0, H, V)
    torch.testing.assert_close(final, initial)


# Bounds in units of the largest entry: some units of the last place of the format, of fp64 results on rounded inputs.
@needs_triton
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 1e-3), (torch.bfloat16, 1e-2)])
def test_triton_in_low_precision(dtype: torch.dtype, tolerance: float) -> None:
    if dtype == torch.bfloat16 and DEVICE.type == "cpu":
        pytest.skip("Triton's interpreter has no bf16")
    lengths, documents = [5, 70, 20], [2, 1]
    q, k, v, g, beta = inputs(lengths)
    tensors, initial = (q.to(dtype), k.to(dtype), v.to(dtype), g.float(), beta.to(dtype)), state(2)
    initial = (initial[0].float(), initial[1].float())
    wide = [tuple(x.double() for x in xs) for xs in (tensors, initial)]
    expected = with_gradients(*wide, lengths, documents, "reference")
    actual = run_triton(tensors, initial, lengths, documents)
    assert actual[0].dtype == dtype and actual[1].dtype == actual[2].dtype == torch.float32
    assert [x.dtype for x in actual[3:]] == [x.dtype for x in (*tensors, *initial)]
    assert_all_close(actual, expected, tolerance)


@needs_triton
def test_triton_in_fp16_with_sums_beyond_its_range() -> None:
    """A long document's sums do not fit fp16 (65,504); what is read from them does."""
    q, k, v, g, beta = inputs([70, 20])
    tensors, initial = (q.half(), k.half(), v.half(), g.float(), beta.half()), tuple(x.float() * 1e6 for x in state(1))
    results = []
    for backend, device, dtype in (("reference", "cpu", torch.float64), ("triton", DEVICE, None)):
        leaves = [x.to(device, dtype) for x in (*tensors, *initial)]
        o, final = window_memory(
            *leaves[:5],
            cu_seqlens=borders([70, 20]).to(device),
            cu_documents=borders([2]).to(device),
            initial_state=(leaves[5], leaves[6]),
            output_final_state=True,
            backend=backend,
        )
        assert final is not None
        results.append([o, *final])
    assert results[0][1].abs().max() > 65504
    assert_all_close(results[1], results[0], 1e-3)


@needs_triton
@pytest.mark.parametrize("cut", [1, 4])
def test_triton_carries_its_state_across_a_cut(cut: int) -> None:
    lengths = [4, 1, 7, 3, 2, 6]
    q, k, v, g, beta = (x.float().to(DEVICE) for x in inputs(lengths))
    run = partial(window_memory, output_final_state=True, backend="triton")
    documents = borders([6]).to(DEVICE)
    whole, final = run(q, k, v, g, beta, cu_seqlens=borders(lengths).to(DEVICE), cu_documents=documents)
    n, carried, parts = sum(lengths[:cut]), None, []
    for tokens, windows in ((slice(0, n), lengths[:cut]), (slice(n, None), lengths[cut:])):
        o, carried = run(
            q[tokens], k[tokens], v[tokens], g, beta[tokens],
            cu_seqlens=borders(windows).to(DEVICE), cu_documents=borders([len(windows)]).to(DEVICE),
            initial_state=carried,
        )  # fmt: skip
        parts.append(o)
    torch.testing.assert_close(torch.cat(parts), whole, atol=1e-5, rtol=1e-5)
    assert final is not None and carried is not None
    torch.testing.assert_close(carried, final, atol=1e-5, rtol=1e-5)


@needs_triton
def test_triton_refuses_too_many_key_channels() -> None:
    tensors = (x.float().to(DEVICE) for x in inputs([2], key=257))
    with pytest.raises(KernelError, match="up to 256 key channels, not 257"):
        window_memory(*tensors, cu_seqlens=borders([2]), cu_documents=borders([1]), backend="triton")


def test_first_window_reads_nothing_and_the_second_reads_the_first() -> None:
    o, _ = window_memory(*inputs([4, 4]), cu_seqlens=borders([4, 4]), cu_documents=borders([2]))
    assert (o[:4] == 0).all()
    assert (o[4:].abs() > 1e-6).any()


def test_unknown_backend_names_the_choices() -> None:
    with pytest.raises(KernelError, match="'trition'; available: auto, reference, chunked"):
        window_memory(*inputs([2]), cu_seqlens=borders([2]), cu_documents=borders([1]), backend="trition")
