"""What core asks of a model. One adapter per family makes it an `Encoder`; nothing above this file knows a family."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

State = Any  # a family's recurrent state of one document: an immutable nest of tensors; None is the empty state


@dataclass(frozen=True, slots=True)
class Encoding:
    """Token ids of one window without [CLS] and [SEP], and their code-point offsets in the text."""

    ids: tuple[int, ...]
    offsets: tuple[tuple[int, int], ...]
    unknown: int  # how many of the ids are [UNK]


class Tokenizer(Protocol):
    sha256: str

    def encode(self, texts: Sequence[str]) -> list[Encoding]: ...


class Encoder(Protocol):
    """Windows in, hidden states and the new states out; pure in the state."""

    name: str
    weights_sha256: str
    dim: int  # of the embedding
    window: int  # W, positions per window including [CLS] and [SEP]
    device: torch.device

    @property
    def tokenizer(self) -> Tokenizer: ...

    def encode(
        self, windows: Sequence[Sequence[int]], document_ids: Sequence[int], states: dict[int, State]
    ) -> tuple[list[torch.Tensor], dict[int, State]]:
        """Encode windows of token ids (without specials), in reading order.

        windows : N sequences of at most `window - 2` ids
        document_ids : (N,) the document each window belongs to; windows of one document must be adjacent
        states : document id -> state before its first window here; a missing id starts empty. Never modified.

        Returns one (T_n, D) tensor of hidden states per window, specials included, and the state of every document
        seen, after its last window.
        """
        ...

    def pool(self, hidden: torch.Tensor) -> torch.Tensor:
        """(T, D) hidden states of one window -> (D,) unnormalised segment vector (mean over tokens)."""
        ...

    def answer_logits(
        self, question: Sequence[int], passages: Sequence[Sequence[int]]
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Per passage: start (T,), end (T,) logits over the passage's tokens and a no-answer logit (), which was
        trained against the start and against the end: a span's start + end compares with twice its value.
        Question and passage together have at most 512 positions with specials."""
        ...

    def salience_logits(self, hidden: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Hidden states (T, D) of one window and the token spans of its sentences (half-open, counted with [CLS] at
        0) -> (S,) salience logits."""
        ...
