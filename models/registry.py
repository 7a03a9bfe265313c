"""Model names and how to load them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from lindoc.core.errors import ModelError
from lindoc.models.encoder import Encoder, Tokenizer
from lindoc.models.tokenizer import WordPieceTokenizer


@dataclass(frozen=True, slots=True)
class ModelCard:
    name: str
    folder: Path
    description: str
    licence: str


MODELS = {
    "lindoc-small": ModelCard(
        name="lindoc-small",
        folder=Path(__file__).parent / "lindoc_small",
        description="built-in encoder: MiniLM-L6 body, linear-attention memory across windows of 256 tokens",
        licence="Apache-2.0",
    ),
}


def resolve_device(device: str | None) -> torch.device:
    """CUDA if it is there, unless named. Raises ModelError for a device this machine lacks."""
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as exc:
        raise ModelError(f"device {device!r} is not available here; choices: cpu, cuda, cuda:N") from exc
    return chosen


def load_encoder(name_or_path: str = "lindoc-small", device: str | None = None) -> Encoder:
    """Load a model by name or folder. Raises ModelError naming the choices."""
    from lindoc.models.lindoc_small.encoder import SmallEncoder

    return SmallEncoder.load(name_or_path, _folder(name_or_path), resolve_device(device))


def load_tokenizer(name_or_path: str = "lindoc-small") -> tuple[Tokenizer, int]:
    """A model's tokenizer and W, without its weights where they lie apart. Raises ModelError as `load_encoder` does."""
    folder = _folder(name_or_path)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        tokenizer, window = WordPieceTokenizer(folder / "tokenizer.json"), int(config["window"])
        if tokenizer.sha256 == config["tokenizer_sha256"]:
            return tokenizer, window
    except (OSError, ValueError, KeyError, TypeError, ModelError):
        pass
    encoder = load_encoder(name_or_path, "cpu")  # another kind of model, or a broken one, which it names
    return encoder.tokenizer, encoder.window


def _folder(name_or_path: str) -> Path:
    if name_or_path in MODELS:
        return MODELS[name_or_path].folder
    if Path(name_or_path).is_dir():
        return Path(name_or_path)
    raise ModelError(f"unknown model {name_or_path!r}; choices: {', '.join(MODELS)}, or a model folder")
