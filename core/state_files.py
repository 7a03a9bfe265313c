"""A saved state to a safetensors file and back; the file says what wrote it, and is verified before it is used."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lindoc.core.borders import Border
from lindoc.core.documents import Decisions
from lindoc.core.errors import StoreError, UsageError
from lindoc.core.schema import header_of
from lindoc.core.states import Point, SavedState
from lindoc.core.tasks.embed import Mean
from lindoc.models.encoder import Encoder, State

FORMAT, VERSION = "lindoc-state", "1"


def write_state(path: Path, saved: SavedState, encoder: Encoder) -> None:
    """The file is private and appears under its name when it is complete."""
    tensors: dict[str, torch.Tensor] = {}
    facts = {"document": saved.document, "sha256": saved.sha256, "size": saved.size, "decisions": saved.decisions}
    record: dict[str, Any] = {**facts, "segments": saved.segments, "earlier": saved.earlier}
    for name, point in (("open", saved.open), ("end", saved.end)):
        total = point.mean.total
        record[name] = {
            "border": None if point.border is None else [*astuple(point.border)[:3], point.border.digest.hex()],
            "tokens": point.tokens,
            "unknown": point.unknown,
            "weight": point.mean.weight,
            "state": _flatten(point.state, f"{name}.state", tensors),
        }
        if total is not None:
            tensors[f"{name}.mean"] = torch.from_numpy(total)
    metadata = {"format": FORMAT, "version": VERSION, **{f"by_{key}": v for key, v in header_of(encoder).items()}}
    metadata |= {"record": json.dumps(record), "digest": _digest(tensors)}
    part = path.with_name(path.name + ".part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(save(tensors, metadata))
        os.replace(part, path)
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise UsageError(f"{path}: cannot be written: {exc.strerror}") from exc


def read_metadata(path: Path) -> dict[str, Any]:
    """What a file says of itself, its tensors unread. Raises StoreError."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise StoreError(f"{path}: is no saved state; 'lindoc state save' writes one")
        if metadata.get("version") != VERSION:
            raise StoreError(
                f"{path}: has version {metadata.get('version')} of the format, not {VERSION}; save it anew"
            )
        return {**metadata, **json.loads(metadata["record"])}
    except (OSError, SafetensorError, ValueError, KeyError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise StoreError(f"{path}: cannot be read ({reason})") from exc


def read_state(path: Path, encoder: Encoder) -> SavedState:
    """Raises StoreError for a file that is damaged or was written by another model."""
    record = read_metadata(path)
    for key, value in header_of(encoder).items():
        if key != "format" and record.get(f"by_{key}") != value:
            raise StoreError(
                f"{path}: was saved with other {key} ({record.get(f'by_{key}')}, not {value}); save it anew"
            )
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except (OSError, SafetensorError) as exc:
        raise StoreError(f"{path}: cannot be read ({exc})") from exc
    if _digest(tensors) != record["digest"]:
        raise StoreError(f"{path}: is damaged: its tensors are not those that were saved; save it anew")
    before, end = (_point(name, record[name], tensors, encoder.device) for name in ("open", "end"))
    facts = record["document"], record["sha256"], record["size"], Decisions(*record["decisions"])
    return SavedState(*facts, before, end, record["segments"], tuple(record["earlier"]))


def _point(name: str, record: dict[str, Any], tensors: dict[str, torch.Tensor], device: torch.device) -> Point:
    border = record["border"]
    total = tensors[f"{name}.mean"].numpy().astype(np.float64) if f"{name}.mean" in tensors else None
    return Point(
        None if border is None else Border(border[0], border[1], border[2], bytes.fromhex(border[3])),
        _unflatten(record["state"], tensors, device),
        Mean(total, record["weight"]),
        record["tokens"],
        record["unknown"],
    )


def _flatten(state: State, name: str, tensors: dict[str, torch.Tensor]) -> Any:
    """The nest with names in place of its tensors."""
    if isinstance(state, torch.Tensor):
        tensors[name] = state.detach().cpu().clone().contiguous()
        return name
    if isinstance(state, dict):
        return {"dict": {key: _flatten(part, f"{name}.{key}", tensors) for key, part in state.items()}}
    if isinstance(state, list | tuple):
        kind = "list" if isinstance(state, list) else "tuple"
        return {kind: [_flatten(part, f"{name}.{at}", tensors) for at, part in enumerate(state)]}
    return None


def _unflatten(nest: Any, tensors: dict[str, torch.Tensor], device: torch.device) -> State:
    if isinstance(nest, str):
        return tensors[nest].to(device)
    if nest is None:
        return None
    ((kind, parts),) = nest.items()
    if kind == "dict":
        return {key: _unflatten(part, tensors, device) for key, part in parts.items()}
    made = [_unflatten(part, tensors, device) for part in parts]
    return made if kind == "list" else tuple(made)


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


def state_facts(path: Path) -> Iterator[tuple[str, Any]]:
    """What `lindoc state list` shows of a file."""
    record = read_metadata(path)
    yield "file", str(path)
    for key in ("document", "earlier", "segments"):
        yield key, record[key]
    yield "tokens", record["end"]["tokens"]
    yield "model", record["by_model"]
    yield "bytes", path.stat().st_size
