"""What all tests share: the tiny encoder."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from lindoc.models.encoder import Encoder


def _load(name: str) -> ModuleType:
    """A helper module that lies beside this file (tests are imported by path, not from sys.path)."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None and spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _load("tiny")


@pytest.fixture
def tiny_encoder() -> Encoder:
    """A seeded encoder of windows of 34 positions with a state; `windows_encoded` counts its work."""
    encoder: Encoder = tiny.TinyEncoder()
    return encoder


@pytest.fixture
def make_encoder() -> Callable[..., Encoder]:
    """make_encoder(seed=…, name=…, window=…): another tiny encoder."""

    def make(**options: object) -> Encoder:
        encoder: Encoder = tiny.TinyEncoder(**options)
        return encoder

    return make
