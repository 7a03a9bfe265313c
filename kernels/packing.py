"""Packed sequences: where each lies, the state it starts from, and its tokens laid out in chunks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch

from lindoc.core.errors import KernelError

__all__ = ["FORGOTTEN", "Chunks", "chunks", "sequences", "starting_state", "state_dtype"]

FORGOTTEN = -50.0  # log decays are cut off here: e^-50 leaves nothing, and sums of decays stay exact enough to subtract


def state_dtype(x: torch.Tensor) -> torch.dtype:
    """Sums over tokens are kept in fp32, in fp64 for fp64 inputs."""
    return torch.promote_types(x.dtype, torch.float32)


def sequences(x: torch.Tensor, cu_seqlens: torch.Tensor | None) -> list[tuple[int, slice]]:
    """Batch row and tokens of each sequence of x (B, T, …): the rows, or the parts of the only row."""
    if cu_seqlens is None:
        return [(row, slice(0, x.shape[1])) for row in range(x.shape[0])]
    borders = cu_seqlens.tolist()
    if x.shape[0] != 1 or borders[0] != 0 or borders[-1] != x.shape[1]:
        raise KernelError(f"cu_seqlens from {borders[0]} to {borders[-1]} does not span (1, T) of {tuple(x.shape[:2])}")
    return [(0, slice(first, last)) for first, last in pairwise(borders)]


def starting_state(initial_state: torch.Tensor | None, like: torch.Tensor, *shape: int) -> torch.Tensor:
    """The initial state in the precision of sums over `like`, zeros of `shape` (N, H, K, V) if there is none."""
    if initial_state is None:
        return torch.zeros(shape, dtype=state_dtype(like), device=like.device)
    if initial_state.shape != shape:
        raise KernelError(f"initial_state is {tuple(initial_state.shape)}; these inputs need {shape}")
    return initial_state.to(state_dtype(like))


@dataclass(frozen=True, slots=True)
class Chunks:
    """The chunks of packed sequences, in order; a sequence's last one may be short, and is filled up with zeros."""

    shape: tuple[int, int]  # (B, T) of the tokens
    size: int  # tokens in a chunk
    slot: torch.Tensor  # (B·T,) place of each token among n_chunk · size
    n_chunk: int
    steps: list[torch.Tensor]  # n-th chunk of every sequence that has one, longest sequence first
    longest_first: torch.Tensor  # (N,) sequences by number of chunks

    def spread(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, H, …) -> (n_chunk, H, size, …), zero after a sequence's end."""
        wide = x.new_zeros(self.n_chunk * self.size, *x.shape[2:])
        wide = wide.index_copy(0, self.slot, x.reshape(-1, *x.shape[2:]))
        return wide.view(self.n_chunk, self.size, *x.shape[2:]).transpose(1, 2)

    def collect(self, x: torch.Tensor) -> torch.Tensor:
        """(n_chunk, H, size, …) -> (B, T, H, …), the inverse of `spread`."""
        wide = x.transpose(1, 2).reshape(self.n_chunk * self.size, x.shape[1], *x.shape[3:])
        return wide.index_select(0, self.slot).view(*self.shape, *wide.shape[1:])

    def carry(
        self, initial: torch.Tensor, advance: Callable[..., torch.Tensor], *terms: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Carry the states (N, …) through the chunks: the state before each chunk (n_chunk, …), and the last (N, …).

        advance(state, *terms) gives the states after one chunk of each sequence that still runs, of whose `terms`
        (n_chunk, …) it gets the rows.
        """
        order = torch.cat([self.longest_first[:0], *self.steps])  # (n_chunk,)
        rows = [term.index_select(0, order).split([len(step) for step in self.steps]) for term in terms]
        state = initial.index_select(0, self.longest_first)
        before, ended = [state[:0]], []
        for step in zip(*rows, strict=True):
            running = len(step[0])
            if running < len(state):
                ended.append(state[running:])
                state = state[:running]
            before.append(state)
            state = advance(state, *step)
        final = torch.cat([state, *reversed(ended)]).index_select(0, self.longest_first.argsort())
        return torch.cat(before).index_select(0, order.argsort()), final


def chunks(x: torch.Tensor, cu_seqlens: torch.Tensor | None, size: int) -> Chunks:
    """Lay the tokens of x (B, T, …) out in chunks of `size` tokens, a power of two, that no two sequences share.

    Chunks are shorter, and still a power of two, if the longest sequence is: one token is a chunk of one.
    """
    n_row, n_token = x.shape[:2]
    lengths = [tokens.stop - tokens.start for _, tokens in sequences(x, cu_seqlens)]
    size = min(size, 1 << (max(lengths, default=1) - 1).bit_length()) if any(lengths) else 1
    counts = torch.tensor([-(-length // size) for length in lengths])  # (N,) chunks
    first = counts.cumsum(0) - counts  # (N,)
    longest_first = counts.argsort(descending=True, stable=True)
    steps = [
        first[longest_first[: int((counts > n).sum())]] + n for n in range(int(counts.max()) if len(counts) else 0)
    ]
    borders = torch.tensor([0, *lengths]).cumsum(0)
    start = (first * size - borders[:-1]).repeat_interleave(torch.tensor(lengths))  # (B·T,)
    slot = torch.arange(n_row * n_token) + start
    return Chunks(
        (n_row, n_token),
        size,
        slot.to(x.device),
        int(counts.sum()),
        [step.to(x.device) for step in steps],
        longest_first.to(x.device),
    )
