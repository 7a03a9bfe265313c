"""The table on labelled sets of a few lines: what each column and control reads, and that nothing else is read."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from examples.evaluate import evaluate, extractive, reading, retrieval, summaries
from examples.evaluate.collection import collect, from_documents, needed, require
from examples.evaluate.contextual import GENERIC, contextual, says, words_of
from examples.evaluate.runner import Runner
from examples.evaluate.sets import LabelledDocument
from examples.evaluate.table import rows_of, verdict
from lindoc.models.encoder import Encoder
from lindoc.models.lindoc_small.modeling import LindocSmall

Write = Callable[[str, list[dict[str, Any]]], Path]
DOCUMENTS = [
    ["The lease of the mill.", "Rent is due in May.", "The tenant repairs the roof.", "Either side may end it."],
    ["Minutes of the harbour board.", "A crane was bought."],
    ["Notes on bees.", "They " + "hum and " * 200 + "rest.", "Honey is taken in August."],
]


def article(title: str, paragraphs: list[str], qas: list[tuple[str, str]]) -> dict[str, Any]:
    text = "\n".join(paragraphs)
    spans = [(text.index(p), text.index(p) + len(p)) for p in paragraphs]
    asked = [{"question": q, "answers": [{"text": a, "start": text.index(a)}]} for q, a in qas]
    return {"title": title, "context": text, "paragraph_spans": spans, "qas": asked}


@pytest.mark.parametrize("most", [1024, 2])
def test_carried_is_one_pass_however_documents_are_grouped(
    runner: Runner, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [runner.cut(document) for document in DOCUMENTS]
    alone = [runner.embed_documents([document]) for document in texts]
    monkeypatch.setattr("examples.evaluate.runner.MOST_WINDOWS", most)
    monkeypatch.setattr("examples.evaluate.runner.TOKENS", 60)
    together, states = runner.embed_documents(texts)
    torch.testing.assert_close(together, torch.cat([mean for mean, _ in alone]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(states[1][0], torch.cat([state[1][0] for _, state in alone]), atol=1e-5, rtol=1e-4)


def test_an_empty_state_is_reset_and_another_is_not(runner: Runner) -> None:
    texts = runner.cut([segment for document in DOCUMENTS for segment in document])
    _, states = runner.embed_documents([runner.cut(document) for document in DOCUMENTS])
    empty = [(torch.zeros_like(s), torch.zeros_like(z)) for s, z in states]
    rows = [0] * len(texts)
    torch.testing.assert_close(runner.embed_after(texts, empty, rows), runner.embed(texts), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(runner.embed_after(texts, states, rows), runner.embed(texts), atol=1e-3)


def test_minilm_reads_the_first_window_only(runner: Runner, small_model: LindocSmall) -> None:
    texts = runner.cut(["bee " * 300, "bee " * 254])
    cut = Runner(small_model, runner.tokenizer, runner.device, truncate=True).embed(texts)
    torch.testing.assert_close(cut[0], cut[1])
    assert [len(text) for text in texts] == [2, 1]


def test_the_controls_read_what_they_say(runner: Runner) -> None:
    documents = [runner.cut(document) for document in DOCUMENTS]
    carried, states = runner.embed_documents(documents)
    head = retrieval.after_the_head(documents, runner)
    torch.testing.assert_close(head[:3], carried[:3], atol=1e-5, rtol=1e-4)  # the third reads the state of two
    torch.testing.assert_close(head[4:6], carried[4:6], atol=1e-5, rtol=1e-4)
    assert not torch.allclose(head[3], carried[3], atol=1e-4)
    other = retrieval.after_another(documents, states, runner)  # the one after next is half of three further on
    expected = runner.embed_after(documents[0], states, [1] * 4)
    torch.testing.assert_close(other[:4], expected, atol=1e-5, rtol=1e-4)


def test_inside_ranks_the_querys_own_document(runner: Runner) -> None:
    labelled = [LabelledDocument(segments, "", [(segments[1], [1])]) for segments in DOCUMENTS]
    found = retrieval.search(from_documents("qmsum", labelled), runner, runner)
    assert found.pooled["reset"].tolist() == [100.0] * 3 and found.inside["bm25"].tolist() == [100.0] * 3
    assert all((found.inside[name] >= found.pooled[name] - 1e-9).all() for name in ("minilm", "reset", "carried"))
    assert not any("title" in name for name in found.pooled)
    titled = [LabelledDocument(d.segments, "Mill", d.queries) for d in labelled]
    assert "title. reset" in retrieval.search(from_documents("cuad", titled), runner, runner).pooled


def test_a_file_scores_as_its_best_segment(runner: Runner, write_rows: Write, tmp_path: Path) -> None:
    long = "\n".join(f"value_{i} = {i}" for i in range(200)) + "\ndef harvest_honey(): pass\n"
    files = {"a.py": long, "b.py": "import sea\n", "c.py": "x = 1\n"}
    write_rows("repo_changes/corpus_sympy_head", [{"id": n, "title": n, "text": text} for n, text in files.items()])
    asked = {"harvest_honey": ["a.py", "gone.py"], "import": ["gone.py"]}
    write_rows("repo_changes/dev", [{"query": query, "files": found} for query, found in asked.items()])
    collection = collect(tmp_path / "tasks", "repo_changes", tmp_path)
    assert collection.whole and collection.queries == ["harvest_honey"] and collection.gold == [[0]]
    assert len(collection.documents[0]) > 1
    assert retrieval.search(collection, runner, runner).pooled["bm25"].tolist() == [100.0]


def test_equal_positives_are_one_passage(write_rows: Write, tmp_path: Path) -> None:
    rows = [{"query": q, "positive": p} for q, p in (("one", "ls"), ("two", "rm"), ("three", "ls"))]
    write_rows("tldr_pages/dev", rows)
    collection = collect(tmp_path / "tasks", "tldr_pages", tmp_path)
    assert collection.segments == ["ls", "rm"] and collection.gold == [[0], [1], [0]] and collection.alone


def test_a_control_that_reaches_the_gain_is_named() -> None:
    row = {"minilm": 20.0, "reset": 30.0, "carried": 50.0, "gain": 20.0, "title. reset": 45.0, "other state": 31.0}
    assert verdict(row) == "title. reset reaches 75% of the gain"
    assert verdict(row | {"title. reset": 31.0}) == "stands"
    assert verdict(row | {"minilm": 40.0, "gain": 0.1}) == "reset is below MiniLM; no gain"


def test_missing_data_ends_with_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        require(needed(tmp_path / "tasks", ["squad", "contextual"], tmp_path / "valid.jsonl.zst"), tmp_path / "tasks")
    assert ended.value.code == 4
    said = capsys.readouterr().err
    assert "squad_article/dev_v1.jsonl.zst is missing" in said and said.count("\n") == 1
    assert f"python -m examples.data.build --out {tmp_path}/tasks --sets squad_article;" in said


def corpus() -> list[dict[str, Any]]:
    """Thirty pages of one shape: the name in the heading, then lines of words that all pages share."""
    draw = random.Random(0)
    common = ["".join(draw.choices("bcdfgklmnprstvaeiou", k=7)) for _ in range(60)]
    rows = []
    for _ in range(30):
        name = "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=8))
        lines = [" ".join(draw.choices(common, k=6)) + "." for _ in range(120)]
        rows.append({"kind": "docs", "source": "s", "title": name, "text": f"# {name}\n\n" + "\n".join(lines)})
    return [*rows, {"kind": "wiki", "source": "s", "title": "no", "text": "# No\n" * 900}]


def test_contextual_queries_name_what_only_an_earlier_segment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("examples.evaluate.contextual.TOO_COMMON", 1.0)
    documents = contextual(corpus())
    asked = [(d, query, gold) for d in documents for query, gold in d.queries]
    assert len(documents) == 30 and len(asked) > 20
    for document, query, gold in asked:
        name, words = query.rsplit(": ", 1)
        telling = words_of(name) - GENERIC
        first = next(i for i, segment in enumerate(document.segments) if name in segment)
        assert first < min(gold) - 1 and len(gold) <= 3
        holders = [i for i, s in enumerate(document.segments) if words_of(s).issuperset(words.split())]
        assert gold == [i for i in holders if i > first]
        assert not any(says(words_of(document.segments[i]), telling) for i in gold)
    assert [d.queries for d in contextual(corpus())] == [d.queries for d in documents]


def test_answers_lie_in_their_passages_and_long_ones_are_read_to_their_end(runner: Runner) -> None:
    passages = ["Rent is due in May.", "hum " * 600 + "honey"]
    pairs = [(0, 0), (1, 0), (0, 1), (1, 1)]
    together = reading.read(runner, ["When is rent due?", "What?"], passages, pairs)
    for answer, (question, passage) in zip(together, pairs, strict=True):
        (alone,) = reading.read(runner, ["When is rent due?", "What?"], passages, [(question, passage)])
        assert answer.text in passages[passage] and answer.text == alone.text
        assert answer.margin == pytest.approx(alone.margin, abs=1e-4)
    windows = list(reading._windows([[101, 5, 102]], [list(range(600))], [(0, 0)]))
    assert {i for w in windows for i in w.ids[w.head : -1]} == set(range(600))
    assert max(len(w.ids) for w in windows) == reading.WIDTH


def test_half_of_the_questions_are_put_to_another_passage(
    runner: Runner, write_rows: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    qas = [("Rent?", "May"), ("Roof?", "tenant"), ("Crane?", "crane"), ("Who?", "board")]
    paragraphs = ["Rent is due in May; the tenant repairs.", "The board bought a crane."]
    write_rows("squad_article/dev_v1", [article("Mill", paragraphs, qas)])
    squad = reading.Squad.load(tmp_path / "tasks", None)
    assert squad.own == [0, 0, 1, 1]
    asked: list[tuple[int, int]] = []

    def read(_: object, questions: object, passages: object, pairs: list[tuple[int, int]]) -> list[reading.Answer]:
        asked.extend(pairs)
        return [reading.Answer(margin=float(squad.own[q] == p)) for q, p in pairs]

    monkeypatch.setattr(reading, "read", read)
    row = reading.squad_abstention(runner, squad)
    assert sum(squad.own[q] == p for q, p in asked) == 2 and row["best F1"] == 100
    assert row["always"] == pytest.approx(200 / 3)


def test_summaries_of_every_system(
    tiny_encoder: Encoder, write_rows: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [f"Sentence number {n} tells of the {w} in the old mill." for n, w in enumerate("abcdefgh")]
    paper = {
        "title": "Mill",
        "sentences": ["Mill", *said],
        "sections": [""] * 9,
        "summary_sentences": ["Mill", said[0]],
    }
    write_rows("scisummnet/dev", [paper])
    write_rows("scitldr_a/dev", [{"sentences": said[:3], "summaries": [said[0], said[1]]}])
    turns = [{"speaker": "A", "text": text} for text in said]
    write_rows("qmsum/dev", [{"turns": turns, "specific": [{"query": "mill?", "turn_spans": [[0, 1]]}]}])
    monkeypatch.setattr(extractive, "is_installed", lambda: False)
    rows = summaries.measure(summaries.prepare(tmp_path / "tasks", None), tiny_encoder)
    assert rows["scitldr_a Lead"]["ROUGE-L"] == 100 and rows["qmsum Lead"]["recall"] == 100
    assert 0 < rows["scisummnet lindoc"]["ROUGE-1"] <= 100 and 0 <= rows["qmsum lindoc"]["recall"] <= 100


def test_sumy_rates_every_sentence() -> None:
    pytest.importorskip("sumy")
    rated = extractive.ratings(["The crane lifts stone.", "Stone lies by the crane.", "Bees hum.", "Bees hum."])
    assert set(rated) == set(extractive.BASELINES)
    for rating in rated.values():
        assert len(rating) == 4 and rating[0] > 0 and rating[2] == rating[3]


def test_budgets_and_recall() -> None:
    assert summaries.within([(0, 10), (20, 30), (40, 50)], 15) == [(0, 10), (20, 25)]
    assert summaries.recall([(0, 10), (20, 25)], [(5, 22)]) == pytest.approx(7 / 17)


def test_the_whole_command(
    runner: Runner,
    write_rows: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_rows("stsb/dev", [{"a": "sea", "b": "ocean", "score": 4}, {"a": "x", "b": "mill", "score": 1}])
    write_rows("squad_article/dev_v1", [article("Mill", ["Rent is due.", "A crane."], [("What is due?", "Rent")])])
    write_rows("tldr_pages/dev", [{"query": "list", "positive": "ls"}])
    for name in ("load_weights", "load_minilm"):
        monkeypatch.setattr(evaluate, name, lambda _: runner.model)
    figures = tmp_path / "figures.json"
    line = f"evaluate --tasks {tmp_path}/tasks --no-reader --no-summaries --minilm x --sets squad tldr_pages --json"
    monkeypatch.setattr(sys, "argv", [*line.split(), str(figures)])
    evaluate.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("STS-B dev Spearman           minilm ")
    assert lines[1].startswith("squad question                    1 queries      2 segments  minilm ")
    assert "carried  alone" in next(line for line in lines if line.startswith("tldr_pages"))
    assert lines[lines.index("Controls of the gain") + 1].startswith("squad question ")
    saved = json.loads(figures.read_text())
    assert saved["retrieval"]["squad title: question inside"]["title. reset"] >= 0
    assert np.isclose(saved["retrieval"]["tldr_pages"]["hybrid"], 100)


def test_rows_without_queries_are_left_out(runner: Runner) -> None:
    collection = from_documents("cuad", [LabelledDocument(DOCUMENTS[0], "", [("rent", [1])])])
    assert list(rows_of(collection, retrieval.search(collection, runner, runner))) == ["cuad", "cuad inside"]
