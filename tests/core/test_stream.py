"""Laws 1, 3, 4 and 5: tokens in = tokens encoded; any block size, any restart, the same result; no look-ahead, no
leak."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lindoc.core.errors import LindocError
from lindoc.core.stream import Window, encode_stream
from lindoc.core.tasks.embed import text_windows
from lindoc.models.encoder import Encoder, State

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = " ".join(f"Sentence number {i} is about the {['red', 'blue', 'green'][i % 3]} thing." for i in range(60))
OTHER = " ".join(f"Nothing here, {i} times, resembles it." for i in range(25))


def hidden_of(
    windows: Sequence[Window], encoder: Encoder, block: int = 16, states: dict[int, State] | None = None
) -> tuple[list[torch.Tensor], dict[int, State]]:
    hidden: list[torch.Tensor] = []
    final: dict[int, State] = {}
    for one in encode_stream(windows, encoder, block=block, states=states):
        hidden += one.hidden
        final.update(one.states)
    return hidden, final


def assert_same(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [1, 2, 7, 16, 1000])
def test_block_size_changes_nothing(block: int, tiny_encoder: Encoder) -> None:
    windows = text_windows(TEXT, 0, tiny_encoder)
    assert len(windows) > 16
    assert_same(hidden_of(windows, tiny_encoder, block)[0], hidden_of(windows, tiny_encoder, 3)[0])


@QUICK
@given(cut=st.integers(0, 18), block=st.integers(1, 9))
def test_a_restart_at_any_border_changes_nothing(cut: int, block: int, tiny_encoder: Encoder) -> None:
    windows = text_windows(TEXT, 0, tiny_encoder)
    whole, _ = hidden_of(windows, tiny_encoder)
    before, states = hidden_of(windows[:cut], tiny_encoder, block)
    after, _ = hidden_of(windows[cut:], tiny_encoder, block, states)
    assert_same([*before, *after], whole)


def test_the_state_matters(tiny_encoder: Encoder) -> None:
    windows = text_windows(TEXT, 0, tiny_encoder)
    whole, _ = hidden_of(windows, tiny_encoder)
    fresh, _ = hidden_of(windows[5:], tiny_encoder)
    assert (whole[5] - fresh[0]).abs().max() > 0.01


def test_later_text_never_changes_an_earlier_window(tiny_encoder: Encoder) -> None:
    windows = text_windows(TEXT, 0, tiny_encoder)
    assert_same(hidden_of(windows[:9], tiny_encoder)[0], hidden_of(windows, tiny_encoder)[0][:9])


@pytest.mark.parametrize("block", [1, 4, 64])
def test_documents_of_one_block_do_not_touch(block: int, tiny_encoder: Encoder) -> None:
    first, second = text_windows(TEXT, 3, tiny_encoder), text_windows(OTHER, 8, tiny_encoder)
    together, _ = hidden_of([*first, *second], tiny_encoder, block)
    apart = hidden_of(first, tiny_encoder)[0] + hidden_of(second, tiny_encoder)[0]
    assert_same(together, apart)


def test_a_state_that_was_given_is_not_modified(tiny_encoder: Encoder) -> None:
    windows = text_windows(TEXT, 0, tiny_encoder)
    _, states = hidden_of(windows[:4], tiny_encoder)
    before = states[0].clone()
    hidden_of(windows[4:], tiny_encoder, states=states)
    assert torch.equal(states[0], before)


def test_every_token_is_encoded_once(tiny_encoder: Encoder) -> None:
    (all_tokens,) = tiny_encoder.tokenizer.encode([TEXT])
    windows = text_windows(TEXT, 0, tiny_encoder)
    hidden, _ = hidden_of(windows, tiny_encoder)
    assert sum(len(one) - 2 for one in hidden) == len(all_tokens.ids)


def test_a_count_that_differs_is_an_error(tiny_encoder: Encoder) -> None:
    (window, *_) = text_windows(TEXT, 0, tiny_encoder)
    cut = replace(window, encoding=replace(window.encoding, ids=window.encoding.ids[:-1]))
    with pytest.raises(LindocError, match="tokens read"):
        hidden_of([cut], tiny_encoder)


def test_an_encoder_that_drops_tokens_is_an_error(tiny_encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    encode: Callable[..., Any] = tiny_encoder.encode

    def truncating(windows: Any, documents: Any, states: Any) -> Any:
        hidden, final = encode(windows, documents, states)
        return [one[:-1] for one in hidden], final

    monkeypatch.setattr(tiny_encoder, "encode", truncating)
    with pytest.raises(LindocError, match="encoded"):
        hidden_of(text_windows(TEXT, 0, tiny_encoder), tiny_encoder)
