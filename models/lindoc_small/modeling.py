"""lindoc-small: attention inside a window of 256 tokens, linear attention across windows.

What is unusual here:
- the body is MiniLM-L6-H384's: 6 post-norm layers, 12 softmax heads of 32 that see the whole window in both directions
- every layer adds 4 memory heads that read the state of all EARLIER windows and then write this window into it
- the state is one (64, 64) matrix and one (64,) vector a head: 0.4 MB a document in fp32, whatever its length
- the memory's output matrix has no bias and starts at zero: with an empty state the model is exactly its body
- windows are packed into one (T, D) tensor with borders `cu_seqlens`; nothing is padded
- three read-outs on one body: mean-pooled embedding, answer span with a no-answer score, sentence salience
- the reader asks for other features than an embedding does: it adds a low-rank update of its own to the body's maps
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from lindoc.kernels.window_attention import window_attention
from lindoc.kernels.window_memory import MemoryState, window_memory


@dataclass(frozen=True, slots=True)
class Config:
    vocab_size: int = 30522
    n_position: int = 512  # positions restart in each window
    n_state: int = 384  # D
    n_layer: int = 6
    n_head: int = 12
    n_inner: int = 1536
    n_memory_head: int = 4  # H of the memory
    memory_dim: int = 64  # K = V of the memory
    norm_eps: float = 1e-12
    dropout: float = 0.1  # of the embeddings and of each residual branch, in training only
    window: int = 256  # positions, [CLS] and [SEP] included
    reader_rank: int = 40
    half_lives: tuple[float, ...] = (3.0, 15.0, 100.0, 1000.0)  # windows, per memory head, at the start of training


@dataclass(frozen=True, slots=True)
class Packing:
    """Borders of a packed batch. Windows from `n_carried` on are alone in their documents and skip the memory."""

    positions: torch.Tensor  # (T,) int64, from 0 in each window
    cu_seqlens: torch.Tensor  # (N + 1,) int32 token borders of the windows
    cu_documents: torch.Tensor  # (D + 1,) int64 window borders of the documents that use the memory
    max_seqlen: int  # tokens, over all windows
    n_carried: int  # windows that use the memory, the first ones
    carried_tokens: int  # tokens of those
    carried_max_seqlen: int  # tokens


class WindowMemory(nn.Module):
    """Linear-attention heads whose state crosses windows (equation: kernels/window_memory/reference.py)."""

    def __init__(self, config: Config):
        super().__init__()
        self.heads, self.dim = config.n_memory_head, config.memory_dim
        width = self.heads * self.dim
        self.query = nn.Linear(config.n_state, width)
        self.key = nn.Linear(config.n_state, width)
        self.value = nn.Linear(config.n_state, width)
        self.write = nn.Linear(config.n_state, self.heads)  # β
        self.gate = nn.Linear(config.n_state, width)
        self.output = nn.Linear(width, config.n_state, bias=False)
        half_lives = torch.tensor(config.half_lives)
        self.decay = nn.Parameter(torch.logit(0.5 ** (1 / half_lives)))  # λ = sigmoid(decay), per head and window
        self.temperature = nn.Parameter(torch.zeros(self.heads))
        for linear in (self.query, self.key, self.value):
            nn.init.normal_(linear.weight, std=0.05)
            nn.init.zeros_(linear.bias)
        nn.init.zeros_(self.output.weight)

    def feature_map(self, x: torch.Tensor) -> torch.Tensor:
        """φ(x) = softmax(2 exp(t_h) x) over the K slots (arXiv 1812.01243). (T, H·K) -> (T, H, K)."""
        slots: torch.Tensor = (
            x.unflatten(-1, (self.heads, self.dim)).float() * (2 * self.temperature.float().exp())[:, None]
        )
        return slots.softmax(-1).to(x.dtype)

    def project(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """(T, D) -> q, k (T, H, K), v (T, H, V), β (T, H)."""
        value = self.value(x).unflatten(-1, (self.heads, self.dim))
        return self.feature_map(self.query(x)), self.feature_map(self.key(x)), value, self.write(x).sigmoid()

    def read_out(self, x: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
        """Gate what was read by what reads it: (T, D), (T, H, V) -> (T, D)."""
        gated: torch.Tensor = self.output(read.flatten(1) * self.gate(x).sigmoid())
        return gated


class LowRank(nn.Module):
    """What the reader adds to one of the body's linear maps: (W + up · down) x + b + bias (LoRA, arXiv 2106.09685)."""

    def __init__(self, linear: nn.Linear, rank: int):
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, linear.in_features) / linear.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.bias = nn.Parameter(torch.zeros(linear.out_features))

    def forward(self, x: torch.Tensor, linear: nn.Linear) -> torch.Tensor:
        return F.linear(x, linear.weight + self.up @ self.down, linear.bias + self.bias)


class Layer(nn.Module):
    """Post-norm transformer layer; the memory's output is added to the attention's."""

    MAPS = ("query", "key", "value", "output", "up", "down")  # the linear maps that the reader updates

    def __init__(self, config: Config):
        super().__init__()
        self.n_head = config.n_head
        self.dropout = config.dropout
        self.query = nn.Linear(config.n_state, config.n_state)
        self.key = nn.Linear(config.n_state, config.n_state)
        self.value = nn.Linear(config.n_state, config.n_state)
        self.output = nn.Linear(config.n_state, config.n_state)
        self.attention_norm = nn.LayerNorm(config.n_state, config.norm_eps)
        self.up = nn.Linear(config.n_state, config.n_inner)
        self.down = nn.Linear(config.n_inner, config.n_state)
        self.output_norm = nn.LayerNorm(config.n_state, config.norm_eps)
        self.memory = WindowMemory(config)
        self.reader = nn.ModuleDict({name: LowRank(getattr(self, name), config.reader_rank) for name in self.MAPS})

    def _map(self, name: str, x: torch.Tensor, reading: bool) -> torch.Tensor:
        linear = getattr(self, name)
        out: torch.Tensor = self.reader[name](x, linear) if reading else linear(x)
        return out

    def project(self, x: torch.Tensor, reading: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(T, D) -> q, k, v (T, H, K) each."""
        q, k, v = (self._map(name, x, reading).unflatten(-1, (self.n_head, -1)) for name in ("query", "key", "value"))
        return q, k, v

    def finish(
        self, x: torch.Tensor, attended: torch.Tensor, memory: torch.Tensor | None, reading: bool = False
    ) -> torch.Tensor:
        """Residual, norms and the feed-forward part. x (T, D), attended (T, D), memory (T' <= T, D)."""
        y = self._map("output", attended, reading)
        if memory is not None:
            y = torch.cat([y[: len(memory)] + memory, y[len(memory) :]])
        x = self.attention_norm(x + self._drop(y)).to(x.dtype)
        inner = self._map("down", F.gelu(self._map("up", x, reading)), reading)
        out: torch.Tensor = self.output_norm(x + self._drop(inner)).to(x.dtype)
        return out

    def _drop(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(x, self.dropout, self.training)

    def forward(
        self,
        x: torch.Tensor,
        packing: Packing,
        state: MemoryState | None,
        output_final_state: bool,
        reading: bool = False,
    ) -> tuple[torch.Tensor, MemoryState | None]:
        q, k, v = self.project(x, reading)
        attended = window_attention(q, k, v, cu_seqlens=packing.cu_seqlens, max_seqlen=packing.max_seqlen).flatten(1)
        if not packing.n_carried:
            return self.finish(x, attended, None, reading), None
        carried = x[: packing.carried_tokens]
        memory_q, memory_k, memory_v, beta = self.memory.project(carried)
        read, final = window_memory(
            memory_q,
            memory_k,
            memory_v,
            F.logsigmoid(self.memory.decay.float()),
            beta,
            cu_seqlens=packing.cu_seqlens[: packing.n_carried + 1],
            cu_documents=packing.cu_documents,
            initial_state=state,
            output_final_state=output_final_state,
            max_seqlen=packing.carried_max_seqlen,
        )
        return self.finish(x, attended, self.memory.read_out(carried, read), reading), final


class LindocSmall(nn.Module):
    """The whole encoder. States are per layer (S (D, H, K, V), z (D, H, K)) in fp32, one row per document."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.n_state)
        self.positions = nn.Embedding(config.n_position, config.n_state)
        self.embedding_norm = nn.LayerNorm(config.n_state, config.norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.n_layer))
        self.span = nn.Linear(config.n_state, 2)  # start and end of an answer
        self.no_answer = nn.Linear(config.n_state, 1)  # read at [CLS]
        self.salience = nn.Linear(config.n_state, 1)  # read at a sentence's mean

    def forward(
        self,
        ids: torch.Tensor,
        packing: Packing,
        states: list[MemoryState] | None = None,
        *,
        output_final_state: bool = False,
        reading: bool = False,
        dtype: torch.dtype | None = None,
    ) -> tuple[torch.Tensor, list[MemoryState] | None]:
        """Encode a packed batch.

        ids : (T,) token ids, [CLS] … [SEP] in each window; states : one per layer, rows as in packing.cu_documents;
        reading : whether with the reader's update (for `span`, `no_answer`) or without (for embedding, salience);
        dtype : of the residual stream, the weights' own if None.

        Returns hidden states (T, D) and, when asked for, the states after each document's last window.
        """
        x = self.embedding_norm(self.tokens(ids) + self.positions(packing.positions))
        x = F.dropout(x if dtype is None else x.to(dtype), self.config.dropout, self.training)
        finals: list[MemoryState] = []
        for i, layer in enumerate(self.layers):
            x, final = layer(x, packing, states[i] if states is not None else None, output_final_state, reading)
            if final is not None:
                finals.append(final)
        return x, finals if output_final_state else None


def pack(lengths: list[int], documents: list[int], *, use_memory: bool, device: torch.device | str) -> Packing:
    """Borders for windows of `lengths` tokens (specials included) of the given documents, adjacent ones alike."""
    borders = torch.tensor([0, *lengths]).cumsum(0)
    positions = torch.arange(int(borders[-1])) - torch.repeat_interleave(borders[:-1], torch.tensor(lengths))
    changes = [i for i in range(1, len(documents)) if documents[i] != documents[i - 1]]
    return Packing(
        positions=positions.to(device),
        cu_seqlens=borders.to(device, torch.int32),
        cu_documents=torch.tensor([0, *changes, len(documents)]).to(device),
        max_seqlen=max(lengths),
        n_carried=len(lengths) if use_memory else 0,
        carried_tokens=int(borders[-1]) if use_memory else 0,
        carried_max_seqlen=max(lengths),
    )
