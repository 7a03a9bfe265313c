"""The chunked window memory equals the reference, with its state and its gradients, on ugly shapes and any cut."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lindoc.core.errors import KernelError
from lindoc.kernels import window_memory

H, K, V = 3, 8, 5


def inputs(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    n = sum(lengths)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=draw)

    q, k = normal(n, H, K).softmax(-1), normal(n, H, K).softmax(-1)
    return q, k, normal(n, H, V), -normal(H).abs(), normal(n, H).sigmoid()


def state(documents: int) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(9)
    s = torch.randn(documents, H, K, V, dtype=torch.float64, generator=draw)
    return s, torch.rand(documents, H, K, dtype=torch.float64, generator=draw)


def borders(lengths: list[int]) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).int()


SHAPES = [([1], [1]), ([1, 15, 16], [3]), ([17, 63, 1], [1, 2]), ([64, 65, 0, 3], [2, 2]), ([5, 2, 9], [0, 3])]


@pytest.mark.parametrize("with_state", [False, True], ids=["empty", "initial_state"])
@pytest.mark.parametrize(("lengths", "documents"), SHAPES)
def test_chunked_matches_reference(lengths: list[int], documents: list[int], with_state: bool) -> None:
    q, k, v, g, beta = inputs(lengths)
    leaves = [x.requires_grad_() for x in (q, k, v, g, beta)]
    initial = state(len(documents)) if with_state else None
    results = []
    for backend in ("reference", "chunked"):
        o, final = window_memory(
            q, k, v, g, beta,
            cu_seqlens=borders(lengths), cu_documents=borders(documents),
            initial_state=initial, output_final_state=True, backend=backend,
        )  # fmt: skip
        assert final is not None
        weight = torch.linspace(-1, 1, o.numel(), dtype=torch.float64).view_as(o)
        loss = (o * weight).sum() + final[0].square().sum() + final[1].sum()
        results.append([o, *final, *torch.autograd.grad(loss, leaves)])
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


def test_first_window_reads_nothing_and_the_second_reads_the_first() -> None:
    o, _ = window_memory(*inputs([4, 4]), cu_seqlens=borders([4, 4]), cu_documents=borders([2]))
    assert (o[:4] == 0).all()
    assert (o[4:].abs() > 1e-6).any()


def test_unknown_backend_names_the_choices() -> None:
    with pytest.raises(KernelError, match="'trition'; available: reference, chunked"):
        window_memory(*inputs([2]), cu_seqlens=borders([2]), cu_documents=borders([1]), backend="trition")
