"""Which implementation runs, and what is said when the one asked for cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lindoc.core.errors import KernelError
from lindoc.kernels import backend, gla, linear_attention, rwkv6, simple_gla

BACKENDS = {name: (lambda name=name: name) for name in ("reference", "chunked", "triton")}
FLOAT = torch.zeros(1)


def test_auto_is_chunked_without_a_gpu() -> None:
    assert backend.chosen(BACKENDS, "auto", FLOAT)() == "chunked"


def test_unknown_backend_names_the_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(KernelError, match=r"unknown backend 'trition'; available: auto, reference, chunked$"):
        backend.chosen(BACKENDS, "trition", FLOAT)


def test_triton_is_refused_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    with pytest.raises(KernelError, match=r"'triton' cannot be used for torch.float32 on cpu; available: auto, ref"):
        backend.chosen(BACKENDS, "triton", FLOAT)
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(KernelError, match=r"'triton' cannot be used for torch.float64 on cpu"):
        backend.chosen(BACKENDS, "triton", FLOAT.double())


def test_triton_is_refused_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(backend, "_has_triton", lambda: False)
    with pytest.raises(KernelError, match="'triton' cannot be used"):
        backend.chosen(BACKENDS, "triton", FLOAT)


@pytest.mark.parametrize("operator", [linear_attention, simple_gla, gla, rwkv6])
def test_every_operator_refuses_an_unknown_backend(operator: object) -> None:
    x = torch.zeros(1, 2, 1, 4)
    decays = {gla: [x], rwkv6: [x, x[0, 0]]}.get(operator, [])  # type: ignore[call-overload]
    with pytest.raises(KernelError, match="unknown backend 'cuda'; available: auto, reference, chunked"):
        operator(x, x, x, *decays, backend="cuda")  # type: ignore[operator]


def test_kernels_import_without_triton(tmp_path: Path) -> None:
    code = "import lindoc.kernels, sys; print('triton.language' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.split() == ["False"]
