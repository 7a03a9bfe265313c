"""A small seeded Encoder with a recurrent state, over words: the whole protocol without weights."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import torch

from lindoc.models.encoder import Encoding, State

VOCABULARY = 4096
UNKNOWN, CLS, SEP = 0, 1, 2
DECAY = 0.8  # of the state, per window


class TinyTokenizer:
    """Words and punctuation, hashed; words outside ASCII are unknown."""

    sha256 = "tiny-tokenizer"

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoding:
        found = list(re.finditer(r"\w+|[^\w\s]", text))
        ids = tuple(self._id(match[0].lower()) for match in found)
        return Encoding(ids, tuple(match.span() for match in found), ids.count(UNKNOWN))

    def _id(self, word: str) -> int:
        return 3 + zlib.crc32(word.encode()) % (VOCABULARY - 3) if word.isascii() else UNKNOWN


class TinyEncoder:
    """hidden_t = tanh(e_t + mean of the window + W s), then s = DECAY s + mean of the hidden states."""

    def __init__(self, dim: int = 384, window: int = 34, seed: int = 0, name: str = "tiny"):
        generator = torch.Generator().manual_seed(seed)
        self.name = name
        self.weights_sha256 = f"tiny-weights-{seed}"
        self.dim = dim
        self.window = window
        self.device = torch.device("cpu")
        self.tokenizer = TinyTokenizer()
        self.windows_encoded = 0
        self._tokens = torch.randn(VOCABULARY, dim, generator=generator)
        self._mix = torch.randn(dim, dim, generator=generator) / dim**0.5
        self._salience = torch.randn(dim, generator=generator) / dim**0.5

    def encode(
        self, windows: Sequence[Sequence[int]], document_ids: Sequence[int], states: dict[int, State]
    ) -> tuple[list[torch.Tensor], dict[int, State]]:
        hidden: list[torch.Tensor] = []
        final: dict[int, State] = {}
        for ids, document in zip(windows, document_ids, strict=True):
            if len(ids) > self.window - 2:
                raise ValueError(f"{len(ids)} tokens in a window of {self.window}")
            state = final[document] if document in final else states.get(document, torch.zeros(self.dim))
            tokens = self._tokens[torch.tensor([CLS, *ids, SEP])]  # (T, D)
            hidden.append(torch.tanh(tokens + tokens.mean(0) + self._mix @ state))
            final[document] = DECAY * state + hidden[-1].mean(0)
            self.windows_encoded += 1
        return hidden, final

    def pool(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden.mean(0)

    def answer_logits(
        self, question: Sequence[int], passages: Sequence[Sequence[int]]
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """The answer is the token that follows most of the question's; there is none if few are shared."""
        asked = set(question)
        read = []
        for passage in passages:
            if len(question) + len(passage) + 3 > 512:
                raise ValueError("question and passage exceed 512 positions")
            shared = [at for at, token in enumerate(passage) if token in asked]
            before = [sum(0 < at - other <= 9 for other in shared) for at in range(len(passage))]
            unasked = [at for at, token in enumerate(passage) if token not in asked]
            at = max(unasked, key=lambda at: before[at], default=0)
            logits = torch.full((len(passage),), -4.0)
            logits[at] = 4.0
            share = len({passage[at] for at in shared}) / max(len(asked), 1)
            read.append((logits, logits.clone(), torch.tensor(8.0 - 8.0 * share)))
        return read

    def salience_logits(self, hidden: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
        return torch.stack([hidden[start:end].mean(0) @ self._salience for start, end in spans])
