"""The builder of the labelled sets: what its check refuses, and how repositories are had."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.data import build, pairs
from examples.data.sources import Source, SourceError, Tree, open_source
from examples.evaluate.sets import read_rows

Commit = Callable[[str, dict[str, str]], Tree]


@pytest.fixture
def scored(commit: Commit, monkeypatch: pytest.MonkeyPatch) -> Source:
    """The recipe of stsb pointed at a repository of three files."""
    tables = {f"data/stsb-en-{split}.csv": f'"a, {split}",b,2.5\r\n' for split in ("train", "dev", "test")}
    tree = commit("o/stsb", tables)
    source = Source("o/stsb", tree.commit, ("/data/stsb-en-train.csv", "/data/stsb-en-dev.csv"))
    monkeypatch.setitem(build.RECIPES, "stsb", build.Recipe(pairs.stsb, (source,)))
    return source


def expect(monkeypatch: pytest.MonkeyPatch, path: Path, sha256: str) -> None:
    figures = {"stsb": {split: {"rows": 1, "sha256": sha256} for split in ("train", "dev")}}
    path.write_text(json.dumps(figures))
    monkeypatch.setattr(build, "EXPECTED", path)


def test_a_split_unlike_the_expected_one_is_named_and_not_written(
    scored: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    expect(monkeypatch, tmp_path / "expected.json", "0" * 64)
    options = ["--out", str(tmp_path / "tasks"), "--sets", "stsb", "--sources", str(tmp_path / "clones")]
    assert build.main(options) == 4
    said = capsys.readouterr()
    assert said.out == ""
    assert "stsb/train" in said.err and "0" * 64 in said.err and "'rows': 1" in said.err
    assert not list((tmp_path / "tasks/stsb").iterdir())


def test_the_expected_splits_are_written_without_the_test_split(
    scored: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(tmp_path / "tasks"), "--sets", "stsb", "--sources", str(tmp_path / "clones")]
    expect(monkeypatch, tmp_path / "expected.json", "0" * 64)
    build.main(options)
    found = [line.rsplit("'sha256': '", 1)[1][:64] for line in capsys.readouterr().err.splitlines()]
    figures = {s: {"rows": 1, "sha256": f} for s, f in zip(("train", "dev"), found, strict=True)}
    (tmp_path / "expected.json").write_text(json.dumps({"stsb": figures}))
    assert build.main(options) == 0
    assert sorted(p.name for p in (tmp_path / "tasks/stsb").iterdir()) == ["dev.jsonl.zst", "train.jsonl.zst"]
    assert list(read_rows(tmp_path / "tasks/stsb/dev.jsonl.zst")) == [{"a": "a, dev", "b": "b", "score": 2.5}]


def test_an_absent_commit_is_an_error_of_one_line(
    scored: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    absent = Source("o/stsb", "1" * 40, ())
    monkeypatch.setitem(build.RECIPES, "stsb", build.Recipe(pairs.stsb, (absent,)))
    options = ["--out", str(tmp_path / "tasks"), "--sets", "stsb", "--sources", str(tmp_path / "clones")]
    assert build.main(options) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_a_repository_is_fetched_once_and_only_the_files_of_the_source(
    scored: Source, tmp_path: Path, git: Callable[..., str]
) -> None:
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        git(tmp_path / "clones/o/stsb", "config", key, "true")
    host = (tmp_path / "clones").as_uri()
    tree = open_source(scored, None, tmp_path / "cache", host)
    (tmp_path / "clones/o/stsb").rename(tmp_path / "gone")
    again = open_source(scored, None, tmp_path / "cache", host)
    assert again.text("data/stsb-en-dev.csv") == tree.text("data/stsb-en-dev.csv") == '"a, dev",b,2.5\r\n'
    assert sorted(p.name for p in (tmp_path / "cache/o+stsb/repo/data").iterdir()) == [
        "stsb-en-dev.csv",
        "stsb-en-train.csv",
    ]
    with pytest.raises(SourceError, match="content"):
        tree.text("data/stsb-en-test.csv")


def test_every_recipe_has_its_expected_figures_and_no_test_split() -> None:
    expected = json.loads(build.EXPECTED.read_text(encoding="utf-8"))
    assert expected.keys() == build.RECIPES.keys()
    assert not [split for splits in expected.values() for split in splits if "test" in split]
    sources = [source for recipe in build.RECIPES.values() for source in recipe.sources]
    assert all(len(source.commit) == 40 for source in sources)
