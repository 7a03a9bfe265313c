"""Linear attention and its feature maps against closed forms: a masked matrix, and softmax attention."""

from __future__ import annotations

import pytest
import torch

from lindoc.core.errors import KernelError
from lindoc.kernels import linear_attention
from lindoc.kernels.linear_attention.features import random_directions

pytestmark = pytest.mark.usefixtures("one_thread")

H, K, V = 3, 7, 5


def inputs(tokens: int) -> list[torch.Tensor]:
    """q, k, v of one text, in fp64."""
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(1, tokens, H, width, dtype=torch.float64, generator=draw) for width in (K, K, V)]


def test_linear_attention_is_a_masked_matrix() -> None:
    q, k, v = inputs(50)
    for feature_map, phi in (("elu1", lambda x: torch.nn.functional.elu(x) + 1), ("relu2", lambda x: x.relu() ** 2)):
        weights = torch.einsum("bthk,bshk->bhts", phi(q), phi(k)).tril()
        expected = torch.einsum("bhts,bshv->bthv", weights, v)
        o, _ = linear_attention(q, k, v, feature_map=feature_map, normalize=False, scale=1, backend="reference")
        torch.testing.assert_close(o, expected, atol=1e-12, rtol=1e-12)
        o, _ = linear_attention(q, k, v, feature_map=feature_map, backend="reference")
        total = weights.sum(-1).mT[..., None]  # (B, T, H, 1)
        torch.testing.assert_close(o, expected / (total + 1e-10), atol=1e-6, rtol=1e-6)


def test_performer_tends_to_softmax_attention() -> None:
    q, k, v = (x / 2 for x in inputs(40))
    logits = torch.einsum("bthk,bshk->bhts", q, k) * K**-0.5
    causal = torch.ones(40, 40, dtype=torch.bool).tril()
    softmax = torch.einsum("bhts,bshv->bthv", logits.masked_fill(~causal, -torch.inf).softmax(-1), v)

    def error(n_feature: int) -> float:
        o, _ = linear_attention(q, k, v, feature_map="performer", n_feature=n_feature)
        return float((o - softmax).square().mean().sqrt())

    assert error(7000) < error(70) / 4
    assert error(7000) < 0.01


def test_random_features_are_orthogonal_and_seeded() -> None:
    directions = random_directions(8, 20, 5)
    assert directions.shape == (20, 8)
    products = directions[:8] @ directions[:8].mT
    torch.testing.assert_close(products, products.diagonal().diag(), atol=1e-12, rtol=0)
    random_directions.cache_clear()
    assert torch.equal(random_directions(8, 20, 5), directions)
    assert not torch.equal(random_directions(8, 20, 6), directions)


def test_unknown_feature_map_names_the_choices() -> None:
    with pytest.raises(KernelError, match="unknown feature map 'relu'; available: elu1, relu2, identity, performer"):
        linear_attention(*inputs(3), feature_map="relu")
