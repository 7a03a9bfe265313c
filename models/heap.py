"""Freed memory back to the system. glibc keeps it in pieces, and tensors of ever new lengths let their sum grow."""

from __future__ import annotations

import ctypes
import sys

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


def release_freed() -> None:
    """Does nothing where the C library is not glibc."""
    if _trim is not None:
        _trim(0)
