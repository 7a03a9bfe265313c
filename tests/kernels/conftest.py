"""Without a GPU, Triton kernels run under Triton's interpreter: it must be asked for before Triton is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tensors of a few hundred numbers are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def poisoned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uninitialised buffers are NaN; none may reach a result or a gradient."""
    for name in ("empty", "empty_like"):
        plain = getattr(torch, name)

        def nan(*args: object, plain: Callable[..., torch.Tensor] = plain, **options: object) -> torch.Tensor:
            out = plain(*args, **options)
            return out.fill_(float("nan")) if out.is_floating_point() else out

        monkeypatch.setattr(torch, name, nan)
