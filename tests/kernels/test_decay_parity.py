"""linear_attention, simple_gla, gla and rwkv6 against fla-core's naive operators, which compute in fp32."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch

from lindoc.kernels import gla, linear_attention, rwkv6, simple_gla

pytestmark = pytest.mark.filterwarnings("ignore")  # what fla-core warns of when it is imported

B, T, H, K, V = 2, 70, 2, 9, 7


def fla(module: str) -> ModuleType:
    found: ModuleType = pytest.importorskip(f"fla.ops.{module}", exc_type=ImportError)
    return found


def normal(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


q, k, v = normal(B, T, H, K, seed=1), normal(B, T, H, K, seed=2), normal(B, T, H, V, seed=3)
vector, u, state = -normal(B, T, H, K, seed=4).abs(), normal(H, K, seed=5), normal(B, H, K, V, seed=6)
carried = {"initial_state": state, "output_final_state": True}


@pytest.mark.parametrize("normalize", [False, True])
def test_linear_attention_agrees_with_fla(normalize: bool) -> None:
    z = normal(B, H, K, seed=7).abs()
    o, final = linear_attention(
        q.sigmoid(), k.sigmoid(), v, feature_map="identity", normalize=normalize,
        initial_state=(state, z) if normalize else state, output_final_state=True,
    )  # fmt: skip
    theirs = fla("linear_attn.naive").naive_recurrent_linear_attn
    expected, last = theirs(
        q.sigmoid(), k.sigmoid(), v, normalize=normalize,
        initial_state=(state, z[:, None]) if normalize else state, output_final_state=True,
    )  # fmt: skip
    torch.testing.assert_close(o, expected, atol=2e-5, rtol=2e-5)
    if isinstance(final, tuple):
        torch.testing.assert_close(final, (last[0], last[1][:, 0]), atol=2e-5, rtol=2e-5)
    else:
        torch.testing.assert_close(final, last, atol=2e-5, rtol=2e-5)


def test_simple_gla_agrees_with_fla() -> None:
    g = vector[..., 0]
    expected = fla("simple_gla.naive").naive_recurrent_simple_gla(q, k, v, g, **carried)
    torch.testing.assert_close(simple_gla(q, k, v, g, **carried), expected, atol=2e-5, rtol=2e-5)


def test_gla_agrees_with_fla() -> None:
    expected = fla("gla.naive").naive_recurrent_gla(q, k, v, vector, **carried)
    torch.testing.assert_close(gla(q, k, v, vector, **carried), expected, atol=2e-5, rtol=2e-5)


def test_rwkv6_agrees_with_fla() -> None:
    heads_first = [x.transpose(1, 2) for x in (q, k, v, vector)]
    expected, last = fla("rwkv6.recurrent_naive").naive_recurrent_rwkv6(*heads_first, u, **carried)
    ours = rwkv6(q, k, v, vector, u, **carried)
    torch.testing.assert_close(ours, (expected.transpose(1, 2), last), atol=2e-5, rtol=2e-5)
