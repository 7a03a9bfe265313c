"""What the tests of the evaluation share: the checkout's `examples`, a small random model, labelled sets on disk."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from lindoc.models.lindoc_small.modeling import Config, LindocSmall

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))  # last: ./lindoc must not shadow the installed package
try:
    import zstandard
except ModuleNotFoundError:  # the labelled sets are read with the extra `eval`
    collect_ignore_glob = ["test_*.py"]

if TYPE_CHECKING:
    from examples.evaluate.runner import Runner


@pytest.fixture
def small_model() -> LindocSmall:
    torch.manual_seed(0)
    model = LindocSmall(
        Config(
            n_state=32,
            n_layer=2,
            n_head=2,
            n_inner=64,
            n_memory_head=2,
            memory_dim=8,
            reader_rank=4,
            half_lives=(3.0, 100.0),
        )
    )
    for layer in model.layers:
        torch.nn.init.normal_(layer.memory.output.weight, std=0.5)  # else the state would change nothing
    return model


@pytest.fixture
def runner(small_model: LindocSmall) -> Runner:
    from examples.evaluate.runner import Runner, load_tokenizer

    tokenizer = load_tokenizer(ROOT / "models/lindoc_small/tokenizer.json")
    return Runner(small_model, tokenizer, torch.device("cpu"))


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[[str, list[dict[str, Any]]], Path]:
    """write_rows("cuad/dev", rows): a set under tmp_path/tasks."""

    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        path = tmp_path / "tasks" / f"{name}.jsonl.zst"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(zstandard.ZstdCompressor().compress(text.encode()))
        return path

    return write
