"""A model folder: config.json, model.safetensors and tokenizer.json, each verified before it is used."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from lindoc.core.errors import ModelError


@dataclass(frozen=True, slots=True)
class Checkpoint:
    config: dict[str, Any]
    weights: dict[str, torch.Tensor]  # fp32
    weights_sha256: str
    tokenizer: Path


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder written by `examples/train/export.py`.

    Raises ModelError when a file is missing, damaged, or not of the hash that config.json names.
    """
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        if not (folder / name).is_file():
            raise ModelError(
                f"{folder}: no {name}; a model folder holds config.json, model.safetensors, tokenizer.json"
            )
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        expected = {"model.safetensors": config["weights_sha256"], "tokenizer.json": config["tokenizer_sha256"]}
    except (ValueError, KeyError, TypeError) as exc:
        raise ModelError(f"{folder / 'config.json'}: not a lindoc model config ({exc})") from exc
    for name, digest in expected.items():
        if file_sha256(folder / name) != digest:
            raise ModelError(f"{folder / name}: wrong hash: the file is damaged or not the one config.json names")
    try:
        weights = {name: tensor.float() for name, tensor in load_file(folder / "model.safetensors").items()}
    except SafetensorError as exc:
        raise ModelError(f"{folder / 'model.safetensors'}: {exc}") from exc
    return Checkpoint(config, weights, expected["model.safetensors"], folder / "tokenizer.json")


def load_strictly(model: torch.nn.Module, checkpoint: Checkpoint, folder: Path) -> None:
    """Give `model` the weights; missing, unexpected or misshapen tensors are a ModelError that lists them."""
    own = {name: tensor.shape for name, tensor in model.state_dict().items()}
    missing = sorted(own.keys() - checkpoint.weights.keys())
    unexpected = sorted(checkpoint.weights.keys() - own.keys())
    misshapen = sorted(n for n in own.keys() & checkpoint.weights.keys() if own[n] != checkpoint.weights[n].shape)
    if missing or unexpected or misshapen:
        raise ModelError(f"{folder}: missing {missing}, unexpected {unexpected}, of another shape {misshapen}")
    model.load_state_dict(checkpoint.weights)
