"""Chunks of packed sequences: every token has a place, and states pass from chunk to chunk within a sequence."""

from __future__ import annotations

import pytest
import torch

from lindoc.core.errors import KernelError
from lindoc.kernels.packing import chunks, sequences, starting_state

LENGTHS = [5, 0, 9, 1, 8, 4]


def packed(lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(sum(lengths) * 2.0).view(1, -1, 2, 1) + 1, torch.tensor([0, *lengths]).cumsum(0)


def test_chunks_belong_to_one_sequence_and_give_every_token_back() -> None:
    x, cu_seqlens = packed(LENGTHS)
    layout = chunks(x, cu_seqlens, 4)
    wide = layout.spread(x)
    assert wide.shape == (2 + 0 + 3 + 1 + 2 + 1, 2, 4, 1)
    assert (wide[..., 0] != 0).sum((1, 2)).div(2).tolist() == [4, 1, 4, 4, 1, 1, 4, 4, 4]
    assert torch.equal(layout.collect(wide), x)


def test_rows_are_sequences() -> None:
    x = torch.arange(12.0).view(3, 4, 1, 1)
    assert sequences(x, None) == [(row, slice(0, 4)) for row in range(3)]
    assert torch.equal(chunks(x, None, 2).collect(chunks(x, None, 2).spread(x)), x)


def test_one_token_is_a_chunk_of_one() -> None:
    assert chunks(torch.zeros(3, 1, 2, 4), None, 64).size == 1
    assert chunks(torch.zeros(1, 33, 2, 4), None, 64).size == 64


def test_states_are_carried_within_a_sequence() -> None:
    x, cu_seqlens = packed(LENGTHS)
    layout = chunks(x, cu_seqlens, 4)
    sums = layout.spread(x)[:, 0].sum((1, 2))  # (n_chunk,)
    initial = torch.arange(6.0) * 1000
    before, final = layout.carry(initial, lambda state, new: state + new, sums)
    tokens = x[0, :, 0, 0].split(LENGTHS)
    assert final.tolist() == [float(start + part.sum()) for start, part in zip(initial, tokens, strict=True)]
    first = [0, 2, 5, 6, 8]  # first chunk of every sequence that has one
    assert before[first].tolist() == [0.0, 2000.0, 3000.0, 4000.0, 5000.0]
    assert float(before[4]) == 2000 + float(sums[2] + sums[3])


def test_what_does_not_fit_is_refused() -> None:
    x, cu_seqlens = packed(LENGTHS)
    with pytest.raises(KernelError, match=r"cu_seqlens from 0 to 27 does not span \(1, T\) of \(1, 26\)"):
        sequences(x[:, 1:], cu_seqlens)
    with pytest.raises(KernelError, match=r"initial_state is \(1, 2\); these inputs need \(2, 2\)"):
        starting_state(torch.zeros(1, 2), x, 2, 2)
