"""Feature maps φ: linear attention reads with φ(q)·φ(k) where softmax attention reads with exp(q·k)."""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F

from lindoc.core.errors import KernelError
from lindoc.kernels.packing import state_dtype

__all__ = ["FEATURE_MAPS", "mapped", "random_directions"]

FEATURE_MAPS = ("elu1", "relu2", "identity", "performer")


def mapped(
    q: torch.Tensor, k: torch.Tensor, feature_map: str, scale: float, n_feature: int | None, seed: int
) -> tuple[torch.Tensor, torch.Tensor, float]:
    """φ(q), φ(k) (B, T, H, features) and the scale that is left outside φ.

    elu1: elu(x) + 1; relu2: relu(x)²; performer: `_positive_random`, which takes the scale into exp(scale · q·k).
    """
    if feature_map == "elu1":
        return F.elu(q) + 1, F.elu(k) + 1, scale
    if feature_map == "relu2":
        return F.relu(q).square(), F.relu(k).square(), scale
    if feature_map == "identity":
        return q, k, scale
    if feature_map == "performer":
        directions = random_directions(q.shape[-1], n_feature or 2 * q.shape[-1], seed)
        return _positive_random(q, directions, scale), _positive_random(k, directions, scale), 1.0
    raise KernelError(f"unknown feature map {feature_map!r}; available: {', '.join(FEATURE_MAPS)}")


def _positive_random(x: torch.Tensor, directions: torch.Tensor, scale: float) -> torch.Tensor:
    """FAVOR+ [1]: φ(x) = exp(Ω x' - |x'|²/2) / √M, x' = √scale x, so that E[φ(q)·φ(k)] = exp(scale · q·k).

    [1] arXiv 2009.14794, lemma 1.
    """
    inner = x.to(state_dtype(x)) * scale**0.5
    exponent = inner @ directions.to(inner).mT - inner.square().sum(-1, keepdim=True) / 2  # (B, T, H, M)
    features: torch.Tensor = exponent.exp() * len(directions) ** -0.5
    return features.to(x.dtype)


@cache
def random_directions(width: int, n_feature: int, seed: int) -> torch.Tensor:
    """Ω (M, K) in fp64: Gaussian rows, orthogonal within every K of them; the same for the same seed."""
    draw = torch.Generator().manual_seed(seed)
    blocks = []
    for _ in range(-(-n_feature // width)):
        basis, corner = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64, generator=draw))
        length = torch.randn(width, width, dtype=torch.float64, generator=draw).norm(dim=1, keepdim=True)
        blocks.append((basis * corner.diagonal().sign()).mT * length)
    return torch.cat(blocks)[:n_feature]
