"""What the tests of the evaluation share: the checkout's `examples`, a small random model, labelled sets on disk."""

from __future__ import annotations

import json
import os
import subprocess
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
    from examples.data.sources import Tree
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


def run_git(folder: Path, *arguments: str) -> str:
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True, env=alone)
    return done.stdout.decode().strip()


@pytest.fixture
def git() -> Callable[..., str]:
    """git(folder, *arguments): what it prints; no settings of the user's."""
    return run_git


@pytest.fixture
def commit(tmp_path: Path) -> Callable[[str, dict[str, str]], Tree]:
    """commit("owner/name", files): a repository under tmp_path/clones with one more commit."""
    from examples.data.sources import Tree

    def write(repo: str, files: dict[str, str]) -> Tree:
        folder = tmp_path / "clones" / repo
        if not folder.exists():
            folder.mkdir(parents=True)
            run_git(folder, "init", "-q")
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode())
        run_git(folder, "add", "-A")
        run_git(folder, "commit", "-q", "-m", "files")
        return Tree(folder / ".git", run_git(folder, "rev-parse", "HEAD"))

    return write
