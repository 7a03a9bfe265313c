"""Linear attention with a feature map, normalised or not."""

from __future__ import annotations

import torch

from lindoc.kernels.backend import chosen, lazy
from lindoc.kernels.linear_attention import chunked, reference
from lindoc.kernels.linear_attention.chunked import State
from lindoc.kernels.linear_attention.features import FEATURE_MAPS, mapped

__all__ = ["BACKENDS", "FEATURE_MAPS", "linear_attention"]

BACKENDS = {
    "reference": reference.linear_attention,
    "chunked": chunked.linear_attention,
    "triton": lazy("lindoc.kernels.linear_attention.fused", "linear_attention"),
}


def linear_attention(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    *,
    feature_map: str = "elu1",
    n_feature: int | None = None,
    seed: int = 0,
    scale: float | None = None,
    normalize: bool = True,
    initial_state: State | None = None,
    output_final_state: bool = False,
    cu_seqlens: torch.Tensor | None = None,
    backend: str = "auto",
) -> tuple[torch.Tensor, State | None]:
    """Causal linear attention over φ(q) and φ(k) (equation and shapes in `reference.linear_attention`).

    feature_map : "elu1", "relu2", "identity", or "performer", `n_feature` (None is 2 K) positive random features drawn
        from `seed`, with which normalised attention tends to softmax attention
    scale : of φ(q), and of q·k under "performer"; None is K^-0.5
    initial_state : S (N, H, features, V), and with `normalize` the pair of S and z (N, H, features)
    backend : "auto", "reference", "chunked" or "triton"
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    features_q, features_k, scale = mapped(q, k, feature_map, scale, n_feature, seed)
    return chosen(BACKENDS, backend, q)(  # type: ignore[no-any-return]
        features_q,
        features_k,
        v,
        scale=scale,
        normalize=normalize,
        initial_state=initial_state,
        output_final_state=output_final_state,
        cu_seqlens=cu_seqlens,
    )
