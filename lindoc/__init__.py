"""The front door: version and public names, imported on first use so that `import lindoc` costs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lindoc.core.api import Model, load_model

__version__ = "0.1.0"
__all__ = ["Model", "__version__", "load_model"]


def __getattr__(name: str) -> object:
    if name in ("Model", "load_model"):
        from lindoc.core import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
