"""Which implementation of an operator runs: chosen from its name, the device, and whether Triton can be used."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from lindoc.core.errors import KernelError

__all__ = ["Operator", "chosen", "lazy", "triton_runs_on"]

Operator = Callable[..., Any]


def chosen(backends: Mapping[str, Operator], backend: str, like: torch.Tensor) -> Operator:
    """The implementation of an operator for inputs such as `like`.

    `backends` has "reference", "chunked" and, where it exists, "triton". "auto" is Triton on a CUDA device, if it can
    be used and the inputs are not float64, and else the chunked form. Raises KernelError for an unknown or unavailable
    one.
    """
    usable = [name for name in backends if name != "triton" or _triton_takes(like)]
    if backend == "auto":
        return backends["triton" if like.is_cuda and "triton" in usable else "chunked"]
    if backend in usable:
        return backends[backend]
    if backend in backends:
        what = f"backend {backend!r} cannot be used for {like.dtype} on {like.device.type}"
    else:
        what = f"unknown backend {backend!r}"
    raise KernelError(f"{what}; available: {', '.join(['auto', *usable])}")


def lazy(module: str, name: str) -> Operator:
    """A function of a module that is imported when it is first called: Triton is imported only when it runs.

    Triton launches on the current device, so that is made the device of the first argument.
    """

    def call(*args: Any, **options: Any) -> Any:
        with torch.cuda.device_of(args[0]):
            return getattr(import_module(module), name)(*args, **options)

    return call


def triton_runs_on(device: torch.device) -> bool:
    """Whether Triton kernels run on this device: CUDA, or any with Triton's interpreter (TRITON_INTERPRET=1)."""
    return _has_triton() and (device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1")


def _triton_takes(like: torch.Tensor) -> bool:
    """fp64 is for tests of the other backends; Triton's interpreter keeps bf16 as integers and computes with those."""
    unfit = (torch.float64,) if like.is_cuda else (torch.float64, torch.bfloat16)
    return like.dtype not in unfit and triton_runs_on(like.device)


@cache
def _has_triton() -> bool:
    return find_spec("triton") is not None
