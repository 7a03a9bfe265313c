"""all-MiniLM-L6-v2's tensors under lindoc-small's names: where training starts, and the peer it is compared with."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file

from lindoc.models.lindoc_small.modeling import Config, LindocSmall

_LAYER_NAMES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}

_READER_HEADS = ("span", "no_answer")


def is_of_reader(name: str) -> bool:
    """Whether a parameter of lindoc-small serves the reader of answers alone."""
    return ".reader." in name or name.split(".")[0] in _READER_HEADS


def starts_fresh(name: str) -> bool:
    """Whether a parameter of lindoc-small has no counterpart in MiniLM."""
    return is_of_reader(name) or "memory" in name or name.startswith("salience.")


def load_minilm(path: Path) -> LindocSmall:
    """Read a Hugging Face BERT folder's model.safetensors; the memory and the read-outs keep their fresh start."""
    source = {name.removeprefix("bert."): tensor.float() for name, tensor in load_file(path).items()}
    target: dict[str, torch.Tensor] = {
        "tokens.weight": source["embeddings.word_embeddings.weight"],
        # token type 0 is everywhere, so its row is folded into the positions
        "positions.weight": source["embeddings.position_embeddings.weight"]
        + source["embeddings.token_type_embeddings.weight"][0],
        "embedding_norm.weight": source["embeddings.LayerNorm.weight"],
        "embedding_norm.bias": source["embeddings.LayerNorm.bias"],
    }
    model = LindocSmall(Config())
    for i in range(model.config.n_layer):
        for ours, theirs in _LAYER_NAMES.items():
            for part in ("weight", "bias"):
                target[f"layers.{i}.{ours}.{part}"] = source[f"encoder.layer.{i}.{theirs}.{part}"]
    fresh, unexpected = model.load_state_dict(target, strict=False)
    wrong = [name for name in fresh if not starts_fresh(name)]
    if unexpected or wrong:
        raise ValueError(f"{path}: missing {wrong}, unexpected {unexpected}")
    return model
