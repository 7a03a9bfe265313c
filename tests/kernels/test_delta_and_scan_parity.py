"""The delta rules, RWKV-7, the selective scan and WKV-4 against other formulas, and other people's where installed."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
import torch.nn.functional as F

from lindoc.kernels.delta_rule import delta_rule
from lindoc.kernels.gated_delta_rule import gated_delta_rule
from lindoc.kernels.rwkv7 import rwkv7
from lindoc.kernels.selective_scan import selective_scan
from lindoc.kernels.wkv4 import wkv4

B, T, H, K, V = 2, 70, 2, 9, 7
CHANNELS, N = 5, 3

both = pytest.mark.parametrize("backend", ["reference", "chunked"])
quiet = pytest.mark.filterwarnings("ignore")  # what other packages warn of when they are imported


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def delta_inputs() -> tuple[torch.Tensor, ...]:
    """q, k of unit length, v, g, β."""
    k = F.normalize(normal(B, T, H, K, seed=1), dim=-1)
    return normal(B, T, H, K), k, normal(B, T, H, V), -normal(B, T, H).abs(), normal(B, T, H, seed=2).sigmoid()


def rwkv7_inputs() -> tuple[torch.Tensor, ...]:
    """r, w, k, v, a, b."""
    kk = F.normalize(normal(B, T, H, K, seed=1), dim=-1)
    r, k, v = normal(B, T, H, K, seed=2), normal(B, T, H, K, seed=3), normal(B, T, H, V, seed=4)
    return r, -normal(B, T, H, K).abs(), k, v, -kk, kk * normal(B, T, H, K, seed=5).sigmoid()


@both
def test_a_key_reads_back_the_value_just_written(backend: str) -> None:
    _, k, v, g, _ = delta_inputs()
    ones = torch.ones(B, T, H, dtype=torch.float64)
    torch.testing.assert_close(delta_rule(k, k, v, ones, scale=1.0, backend=backend)[0], v)
    torch.testing.assert_close(gated_delta_rule(k, k, v, g, ones, scale=1.0, backend=backend)[0], v)


@both
def test_rwkv7_contains_the_gated_delta_rule_and_that_the_delta_rule(backend: str) -> None:
    q, k, v, g, beta = delta_inputs()
    write, fade = beta[..., None], g[..., None].exp()
    o, final = gated_delta_rule(q, k, v, g, beta, scale=0.5, output_final_state=True, backend=backend)
    general = rwkv7(
        q, g[..., None].expand_as(k), write * k, v, -write * fade * k, k,
        scale=0.5, output_final_state=True, backend=backend,
    )  # fmt: skip
    torch.testing.assert_close(general, (o, final))
    ungated = gated_delta_rule(q, k, v, torch.zeros_like(g), beta, backend=backend)[0]
    torch.testing.assert_close(ungated, delta_rule(q, k, v, beta, backend=backend)[0])


@both
def test_rwkv7_is_a_product_of_matrices(backend: str) -> None:
    r, w, k, v, a, b = rwkv7_inputs()
    state, outputs = torch.zeros(B, H, K, V, dtype=torch.float64), []
    for t in range(T):
        move = torch.diag_embed(w[:, t].exp()) + b[:, t, :, :, None] @ a[:, t, :, None, :]  # (B, H, K, K)
        state = move @ state + k[:, t, :, :, None] @ v[:, t, :, None, :]
        outputs.append((r[:, t, :, None, :] @ state)[:, :, 0])
    torch.testing.assert_close(rwkv7(r, w, k, v, a, b, backend=backend)[0], torch.stack(outputs, 1))


@both
def test_selective_scan_is_a_decayed_sum_over_all_pairs(backend: str) -> None:
    u, step = normal(B, T, CHANNELS), normal(B, T, CHANNELS, seed=1).abs()
    a, b, c = -normal(CHANNELS, N).abs(), normal(B, T, N, seed=2), normal(B, T, N, seed=3)
    until = step.cumsum(1)  # (B, T, D)
    span = (until[:, :, None] - until[:, None]).clamp(min=0)  # (B, T, T, D)
    decay = (span[..., None] * a).exp() * torch.ones(T, T).tril()[..., None, None]  # (B, T, T, D, N)
    expected = torch.einsum("btn,btsdn,bsd,bsd,bsn->btd", c, decay, step, u, b)
    torch.testing.assert_close(selective_scan(u, step, a, b, c, backend=backend)[0], expected)


@both
def test_wkv4_is_a_softmax_over_the_past(backend: str) -> None:
    k, v, w, u = 30 * normal(B, T, CHANNELS), normal(B, T, CHANNELS, seed=1), -normal(CHANNELS).abs(), normal(CHANNELS)
    age = torch.arange(T)[:, None] - 1 - torch.arange(T)  # (T, T)
    logits = k[:, None] + torch.where(age[..., None] < 0, u, w * age[..., None])  # (B, T, T, C)
    share = logits.masked_fill((age < -1)[..., None], -torch.inf).softmax(2)
    torch.testing.assert_close(wkv4(k, v, w, u, backend=backend)[0], torch.einsum("btsc,bsc->btc", share, v))


def fla(module: str) -> ModuleType:
    """One of fla-core's naive operators, which compute in fp32 with heads before tokens."""
    found: ModuleType = pytest.importorskip(f"fla.ops.{module}.naive", exc_type=ImportError)
    return found


@quiet
def test_delta_rules_agree_with_fla() -> None:
    q, k, v, g, beta = delta_inputs()
    heads_first = [x.transpose(1, 2) for x in (q, k, v, beta)]
    o, final = fla("delta_rule").delta_rule_recurrence(*heads_first)
    assert_close_in_fp32(delta_rule(q, k, v, beta, output_final_state=True), (o.transpose(1, 2), final))
    expected = fla("gated_delta_rule").naive_recurrent_gated_delta_rule(
        q=q, k=k, v=v, beta=beta, g=g, output_final_state=True
    )
    assert_close_in_fp32(gated_delta_rule(q, k, v, g, beta, output_final_state=True), expected)


@quiet
def test_rwkv7_agrees_with_fla() -> None:
    r, w, k, v, a, b = rwkv7_inputs()
    heads_first = [x.transpose(1, 2).float() for x in (r, k, v, a, b, w)]
    o, final = fla("generalized_delta_rule.dplr").dplr_recurrence(*heads_first)
    ours = rwkv7(r, w, k, v, a, b, scale=K**-0.5, output_final_state=True)
    assert_close_in_fp32(ours, (o.transpose(1, 2), final))


@quiet
def test_selective_scan_agrees_with_transformers() -> None:
    mamba = pytest.importorskip("transformers.models.mamba.modeling_mamba", exc_type=ImportError)
    u, delta, z, bias = normal(B, T, CHANNELS), normal(B, T, CHANNELS, seed=1), normal(B, T, CHANNELS, seed=2), 0.5
    a, b, c, d = -normal(CHANNELS, N).abs(), normal(B, T, N, seed=3), normal(B, T, N, seed=4), normal(CHANNELS)
    expected = mamba.mamba_selective_scan(
        *(x.mT for x in (u, delta)), a, b.mT, c.mT, d, z.mT, torch.full((CHANNELS,), bias).double(), True, True
    )
    ours = selective_scan(u, delta, a, b, c, d, z, torch.full((CHANNELS,), bias), True, output_final_state=True)
    assert_close_in_fp32(ours, (expected[0].mT, expected[1]))


@quiet
def test_wkv4_agrees_with_transformers() -> None:
    rwkv = pytest.importorskip("transformers.models.rwkv.modeling_rwkv", exc_type=ImportError)
    time_decay, u = normal(CHANNELS), normal(CHANNELS, seed=1)
    k, v = 3 * normal(B, T, CHANNELS, seed=2), normal(B, T, CHANNELS, seed=3)
    o, state = rwkv.rwkv_linear_attention_cpu(time_decay, u, k, v, return_state=True)
    ours = wkv4(k, v, -time_decay.exp(), u, output_final_state=True)
    assert_close_in_fp32(ours, (o, torch.stack(state, 1)))


def assert_close_in_fp32(
    ours: tuple[torch.Tensor, torch.Tensor | None], theirs: tuple[torch.Tensor, torch.Tensor]
) -> None:
    for x, y in zip(ours, theirs, strict=True):
        assert x is not None
        torch.testing.assert_close(x.float(), y.float(), atol=2e-5, rtol=1e-5)
