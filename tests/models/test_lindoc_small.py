"""The encoder's laws on a small seeded model with a live memory, and on the weights that ship."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lindoc.core.errors import ModelError
from lindoc.models.lindoc_small.encoder import SmallEncoder
from lindoc.models.lindoc_small.modeling import Config, LindocSmall, pack
from lindoc.models.registry import MODELS, load_encoder
from lindoc.models.tokenizer import WordPieceTokenizer

FOLDER = MODELS["lindoc-small"].folder
CPU = torch.device("cpu")
TEXTS = [
    "The agreement is made between Acme and Bolt.",
    "Retries are handled in the courier. Each waits twice as long as the one before.",
    "x",
    "A third paragraph speaks of rivers, mountains and the weather of the north in some detail.",
    "It ends here.",
]


@pytest.fixture(scope="module")
def seeded() -> SmallEncoder:
    torch.manual_seed(0)
    model = LindocSmall(Config(n_layer=2, n_inner=64))
    for layer in model.layers:
        torch.nn.init.normal_(layer.memory.output.weight, std=0.2)  # a memory that matters
    return SmallEncoder("seeded", model, WordPieceTokenizer(FOLDER / "tokenizer.json"), "none", CPU)


@pytest.fixture(scope="module")
def shipped() -> SmallEncoder:
    encoder = load_encoder("lindoc-small", "cpu")
    assert isinstance(encoder, SmallEncoder)
    return encoder


def ids_of(encoder: SmallEncoder, texts: list[str]) -> list[tuple[int, ...]]:
    return [e.ids for e in encoder.tokenizer.encode(texts)]


def one_by_one(
    encoder: SmallEncoder, windows: list[tuple[int, ...]], cuts: set[int]
) -> tuple[list[torch.Tensor], object]:
    hidden: list[torch.Tensor] = []
    states: dict[int, object] = {}
    begin = 0
    for end in [*sorted(cuts), len(windows)]:
        part, states = encoder.encode(windows[begin:end], [7] * (end - begin), states)
        hidden += part
        begin = end
    return hidden, states[7]


@given(cuts=st.sets(st.integers(1, 4)))
@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("name", ["seeded", "shipped"])
def test_any_cut_gives_one_pass(name: str, cuts: set[int], seeded: SmallEncoder, shipped: SmallEncoder) -> None:
    encoder = {"seeded": seeded, "shipped": shipped}[name]
    windows = ids_of(encoder, TEXTS)
    whole, whole_state = one_by_one(encoder, windows, set())
    parts, part_state = one_by_one(encoder, windows, cuts)
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    for (s_a, z_a), (s_b, z_b) in zip(whole_state, part_state, strict=True):  # type: ignore[call-overload]
        torch.testing.assert_close(s_a, s_b, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(z_a, z_b, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["seeded", "shipped"])
def test_the_state_matters(name: str, seeded: SmallEncoder, shipped: SmallEncoder) -> None:
    encoder = {"seeded": seeded, "shipped": shipped}[name]
    windows = ids_of(encoder, TEXTS)
    carried, _ = encoder.encode(windows, [0] * 5, {})
    alone = [encoder.encode([w], [0], {})[0][0] for w in windows]
    torch.testing.assert_close(carried[0], alone[0], atol=1e-5, rtol=0)
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(carried[1:], alone[1:], strict=True))


def test_no_look_ahead_past_the_window_but_both_directions_inside(seeded: SmallEncoder) -> None:
    windows = ids_of(seeded, TEXTS)
    before, _ = seeded.encode(windows, [0] * 5, {})
    changed, _ = seeded.encode([*windows[:3], windows[0], windows[1]], [0] * 5, {})
    for a, b in zip(before[:3], changed[:3], strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
    shorter, _ = seeded.encode([windows[1][:-1]], [0], {})
    full, _ = seeded.encode([windows[1]], [0], {})
    assert (full[0][1] - shorter[0][1]).abs().max() > 1e-4


def test_documents_in_one_batch_never_touch(seeded: SmallEncoder) -> None:
    windows = ids_of(seeded, TEXTS)
    both, states = seeded.encode(windows, [0, 0, 0, 1, 1], {})
    first, first_state = seeded.encode(windows[:3], [0] * 3, {})
    second, _ = seeded.encode(windows[3:], [1] * 2, {})
    for a, b in zip(both, [*first, *second], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
    torch.testing.assert_close(states[0][0][0], first_state[0][0][0], atol=1e-5, rtol=1e-5)


def test_a_state_is_never_modified(seeded: SmallEncoder) -> None:
    windows = ids_of(seeded, TEXTS)
    _, states = seeded.encode(windows[:2], [0, 0], {})
    kept = [(s.clone(), z.clone()) for s, z in states[0]]
    seeded.encode(windows[2:4], [0, 0], states)
    for (s, z), (s_kept, z_kept) in zip(states[0], kept, strict=True):
        assert torch.equal(s, s_kept) and torch.equal(z, z_kept)


def test_state_size_does_not_grow(shipped: SmallEncoder) -> None:
    windows = ids_of(shipped, TEXTS)
    for n in (1, 5):
        _, states = shipped.encode(windows[:n], [0] * n, {})
        assert sum(s.numel() + z.numel() for s, z in states[0]) == 6 * 4 * (64 * 64 + 64)


def test_too_long_a_window_is_refused(seeded: SmallEncoder) -> None:
    with pytest.raises(ValueError, match="exceeds 256"):
        seeded.encode([[7] * 255], [0], {})


def test_shipped_reader_finds_a_plain_answer(shipped: SmallEncoder) -> None:
    passage = "The bridge was opened in 1932 by the mayor, and it carries two railway lines over the river."
    encoding = shipped.tokenizer.encode([passage])[0]
    question = ids_of(shipped, ["When was the bridge opened?"])[0]
    ((start, end, none),) = shipped.answer_logits(question, [encoding.ids])
    a, b = int(start.argmax()), int(end.argmax())
    assert passage[encoding.offsets[a][0] : encoding.offsets[b][1]] == "1932"
    assert start[a] + end[b] > 2 * none
    ((start, end, none),) = shipped.answer_logits(
        ids_of(shipped, ["Who wrote the novel Moby Dick?"])[0], [encoding.ids]
    )
    assert start.max() + end.max() < 2 * none


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_wrong_hash_is_named(tmp_path: Path, name: str) -> None:
    for file in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copyfile(FOLDER / file, tmp_path / file)
    with (tmp_path / name).open("r+b") as file_object:
        file_object.seek(-3, 2)
        file_object.write(b"!")
    with pytest.raises(ModelError, match=rf"{name}: wrong hash"):
        load_encoder(str(tmp_path))


def test_missing_and_unknown_models_name_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="choices: lindoc-small"):
        load_encoder("lindoc-huge")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_encoder(str(tmp_path))
    with pytest.raises(ModelError, match="not available here"):
        load_encoder("lindoc-small", "cuda:77")


def test_config_names_the_hash_of_what_ships() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    assert (FOLDER / "model.safetensors").stat().st_size <= 55_000_000
    assert config["model"] == "lindoc-small"
    assert len(config["weights_sha256"]) == 64


def test_the_reader_leaves_the_embedding_as_it_is_and_starts_from_the_body(seeded: SmallEncoder) -> None:
    window = ids_of(seeded, TEXTS[:2])
    lengths = [len(window[0]) + 2, len(window[1]) + 2]
    ids = torch.tensor([i for one in window for i in (101, *one, 102)])
    packing = pack(lengths, [0, 1], use_memory=False, device=CPU)
    model = LindocSmall(Config(n_layer=2, n_inner=64)).eval()

    def hidden(reading: bool) -> torch.Tensor:
        with torch.inference_mode():
            out: torch.Tensor = model(ids, packing, reading=reading)[0]
        return out

    before = hidden(False)
    torch.testing.assert_close(hidden(True), before)
    for layer in model.layers:
        for update in layer.reader.values():
            torch.nn.init.normal_(update.up, std=0.1)
    torch.testing.assert_close(hidden(False), before, atol=0, rtol=0)
    assert (hidden(True) - before).abs().max() > 0.1
