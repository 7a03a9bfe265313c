"""lindoc-small as an `Encoder`: token ids in, hidden states and new states out."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path

import torch

from lindoc.core.errors import ModelError
from lindoc.kernels.packed_linear import pack_linears
from lindoc.kernels.window_memory import MemoryState
from lindoc.models.checkpoint import load_strictly, read_checkpoint
from lindoc.models.encoder import State
from lindoc.models.heap import release_freed
from lindoc.models.lindoc_small.modeling import Config, LindocSmall, pack
from lindoc.models.tokenizer import WordPieceTokenizer

RELEASE_EVERY = 10_000  # tokens, on the CPU


class SmallEncoder:
    """fp32 on the CPU; on CUDA fp16 inside the layers, states in fp32."""

    def __init__(self, name: str, model: LindocSmall, tokenizer: WordPieceTokenizer, sha256: str, device: torch.device):
        self.name = name
        self.weights_sha256 = sha256
        self.model = model.to(device).eval().requires_grad_(False)
        if device.type == "cpu":
            pack_linears(self.model)
        self._unreleased = 0  # tokens encoded since freed memory was given back
        self.tokenizer = tokenizer
        self.device = device
        self.dim = model.config.n_state
        self.window = model.config.window
        self.dtype = torch.float16 if device.type == "cuda" else torch.float32

    @classmethod
    def load(cls, name: str, folder: Path, device: torch.device) -> SmallEncoder:
        checkpoint = read_checkpoint(folder)
        known = {field.name for field in dataclasses.fields(Config)}
        try:
            values = {key: value for key, value in checkpoint.config.items() if key in known}
            config = Config(**{**values, "half_lives": tuple(values["half_lives"])})
        except (KeyError, TypeError) as exc:
            raise ModelError(f"{folder / 'config.json'}: not a lindoc-small config ({exc})") from exc
        model = LindocSmall(config)
        load_strictly(model, checkpoint, folder)
        return cls(name, model, WordPieceTokenizer(checkpoint.tokenizer), checkpoint.weights_sha256, device)

    def encode(
        self, windows: Sequence[Sequence[int]], document_ids: Sequence[int], states: dict[int, State]
    ) -> tuple[list[torch.Tensor], dict[int, State]]:
        """See `lindoc.models.encoder.Encoder.encode`. A state is one (S (H, K, V), z (H, K)) in fp32 per layer."""
        if not windows:
            return [], {}
        ids = [[self.tokenizer.cls, *window, self.tokenizer.sep] for window in windows]
        longest = max(map(len, ids))
        if longest > self.window:
            raise ValueError(f"a window of {longest} tokens exceeds {self.window}")
        order = list(dict.fromkeys(document_ids))
        if sum(a != b for a, b in pairwise(document_ids)) != len(order) - 1:
            raise ValueError("windows of one document must be adjacent")
        initial = self._stack([states.get(d) for d in order]) if any(d in states for d in order) else None
        lengths = [len(window) for window in ids]
        packing = pack(lengths, list(document_ids), use_memory=True, device=self.device)
        flat = torch.tensor([i for window in ids for i in window], device=self.device)
        with torch.inference_mode(), self._precision():
            hidden, finals = self.model(flat, packing, initial, output_final_state=True, dtype=self.dtype)
        self._unreleased += len(flat)
        if self.device.type == "cpu" and self._unreleased >= RELEASE_EVERY:
            release_freed()
            self._unreleased = 0
        new = {d: [(s[row], z[row]) for s, z in finals] for row, d in enumerate(order)}
        return list(hidden.float().split(lengths)), new

    def pool(self, hidden: torch.Tensor) -> torch.Tensor:
        """Mean over the window's tokens, (T, D) -> (D,)."""
        return hidden.mean(0)

    def answer_logits(
        self, question: Sequence[int], passages: Sequence[Sequence[int]]
    ) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """See `Encoder.answer_logits`."""
        if not passages:
            return []
        head = [self.tokenizer.cls, *question, self.tokenizer.sep]
        ids = [[*head, *passage, self.tokenizer.sep] for passage in passages]
        lengths = [len(window) for window in ids]
        if max(lengths) > self.model.config.n_position:
            raise ValueError(f"question and passage exceed {self.model.config.n_position} positions")
        packing = pack(lengths, list(range(len(ids))), use_memory=False, device=self.device)
        flat = torch.tensor([i for window in ids for i in window], device=self.device)
        with torch.inference_mode(), self._precision():
            hidden, _ = self.model(flat, packing, reading=True, dtype=self.dtype)
        results = []
        with torch.inference_mode():
            for states in hidden.float().split(lengths):
                span = self.model.span(states[len(head) : -1])  # (T, 2)
                results.append((span[:, 0], span[:, 1], self.model.no_answer(states[0])[0]))
        return results

    def salience_logits(self, hidden: torch.Tensor, spans: Sequence[tuple[int, int]]) -> torch.Tensor:
        """See `Encoder.salience_logits`."""
        if not spans:
            return torch.zeros(0, device=self.device)
        with torch.inference_mode():
            means = torch.stack([hidden[a:b].mean(0) for a, b in spans])  # (S, D)
            logits: torch.Tensor = self.model.salience(means)
        return logits[:, 0]

    def _stack(self, states: Sequence[State]) -> list[MemoryState]:
        config = self.model.config
        shape = (config.n_memory_head, config.memory_dim, config.memory_dim)
        empty = (torch.zeros(shape, device=self.device), torch.zeros(shape[:2], device=self.device))
        rows = [state if state is not None else [empty] * config.n_layer for state in states]
        return [tuple(torch.stack([row[i][j] for row in rows]) for j in range(2)) for i in range(config.n_layer)]  # type: ignore[misc]

    def _precision(self) -> AbstractContextManager[None]:
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)
