"""The builder of the labelled sets on small source trees: what a page or table becomes, and what the check refuses."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.data import build, code, cuad, evidence, health, meetings, pairs, papers, shell, squad
from examples.data.rows import identity, share
from examples.data.sources import Source, SourceError, Tree, open_source
from examples.evaluate.sets import read_rows

Commit = Callable[[str, dict[str, str]], Tree]


def git(folder: Path, *arguments: str) -> str:
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}
    who = ["-c", "user.name=t", "-c", "user.email=t@t"]
    done = subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True, env=alone)
    return done.stdout.decode().strip()


@pytest.fixture
def commit(tmp_path: Path) -> Commit:
    """commit("owner/name", files): a repository under tmp_path/clones with one more commit."""

    def write(repo: str, files: dict[str, str]) -> Tree:
        folder = tmp_path / "clones" / repo
        if not folder.exists():
            folder.mkdir(parents=True)
            git(folder, "init", "-q")
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text.encode())
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "files")
        return Tree(folder / ".git", git(folder, "rev-parse", "HEAD"))

    return write


def page(title: str, *paragraphs: tuple[str, list[tuple[str, str, list[str]]]]) -> str:
    """A page of the SQuAD explorer; a question is (attribute, text, answers)."""
    text = f'<h1 id="title">{title}</h1>'
    for context, questions in paragraphs:
        text += f'<div class="para-wrap"><div class="row"><pre>{context}</pre>'
        for attribute, question, answers in questions:
            spans = "".join(f'<span class="answer">{a}</span>' for a in answers)
            text += f'<div class="qa-wrap"{attribute}><strong class="question">{question}</strong>{spans}</div>'
        text += "</div></div>"
    return text


@pytest.fixture
def pages(commit: Commit) -> Tree:
    first = "Kings rule. A king of old was Ada &amp; she ruled. King A."
    return commit(
        "o/squad",
        {
            "explore/1.1/train/index.html": "<h1>none</h1>",
            "explore/1.1/train/Old_kings.html": page(
                "Old_kings",
                (
                    first,
                    [("", " Who ruled of old? ", ["Ada &amp; she"]), ("", "Which letter was a king of old?", ["A"])],
                ),
                ("A shed.", [("", "What shed?", ["shed"])]),
                (first, [("", "Who rule?", ["Kings"])]),
            ),
            "explore/1.1/dev/Sea.html": page("Sea", ("The sea.", [(' data-id="57ab"', "What?", ["sea", "The sea"])])),
        },
    )


def test_answers_of_squad_stand_where_their_row_says(pages: Tree) -> None:
    splits = squad.by_paragraph(pages, pages)
    rows = [row for split in splits.values() for row in split]
    assert all(row["context"][a["start"] :].startswith(a["text"]) for row in rows for a in row["answers"])
    assert [row["title"] for row in rows] == ["Old kings"] * 4 + ["Sea"]
    assert rows[0]["question"] == "Who ruled of old?"
    assert rows[0]["answers"] == [{"text": "Ada & she", "start": 30, "n_occ": 1}]
    assert rows[0]["id"] == identity("Old_kings", rows[0]["context"], "Who ruled of old?")
    assert rows[4]["id"] == "57ab"


def test_of_several_places_the_sentence_like_the_question_is_taken(pages: Tree) -> None:
    row = list(squad.by_paragraph(pages, pages)["train"])[1]
    assert row["answers"] == [{"text": "A", "start": 12, "n_occ": 2}]  # neither in "Ada" nor the last one


def test_an_article_holds_each_paragraph_once_with_all_its_questions(pages: Tree) -> None:
    (article,) = squad.by_article(pages, pages)["train_v1"]
    assert [article["context"][a:b] for a, b in article["paragraph_spans"]] == [
        "Kings rule. A king of old was Ada & she ruled. King A.",
        "A shed.",
    ]
    assert [qa["paragraph"] for qa in article["qas"]] == [0, 0, 0, 1]
    for qa in article["qas"]:
        assert all(article["context"][a["start"] :].startswith(a["text"]) for a in qa["answers"])


def contract_of(split: str, ending: str = ".pdf") -> str:
    return next(name for i in range(999) if cuad.split_of(name := f"Deal {i}{ending}") == split)


def test_clauses_of_a_contract_are_found_whatever_their_spaces_and_capitals(commit: Commit) -> None:
    train, dev, test = (contract_of(split) for split in ("train", "dev", "test"))
    row = "\"['the deed', 'A<omitted>shall end', 'absent']\",Deed,[],No"
    folder, table = "data/CUAD_v1", "Filename,Document Name,Document Name-Answer,Cap On Liability,Cap-Answer\n"
    texts = {f"{folder}/full_contract_txt/{n[:-4]}.txt": "THE\n\nDEED shall  end.\r\n" for n in (train, dev, test)}
    files = {
        **texts,
        f"{folder}/master_clauses.csv": table + "".join(f"{name},{row}\n" for name in (train, dev, test)),
        f"{folder}/full_contract_pdf/Part_I/{dev}": "",
        "category_descriptions.csv": "\ufeffCategory,Description,Format,Group\n"
        "Category: Document Name,Description: The name,-,-\nCategory: Cap on Liability,Description: A cap?,-,-\n",
    }
    tree = commit("o/cuad", files)
    splits = {split: list(rows) for split, rows in cuad.cuad(tree, tree).items()}
    assert {split: [r["id"] for r in rows] for split, rows in splits.items()} == {"train": [train], "dev": [dev]}
    (contract,) = splits["dev"]
    assert contract["context"] == "THE\n\nDEED shall  end.\r\n"
    assert contract["pdf"] == f"{folder}/full_contract_pdf/Part_I/{dev}"
    name, cap = contract["qas"]
    assert name["answers"] == [{"text": "THE\n\nDEED", "start": 0}, {"text": "shall  end", "start": 10}]
    assert (cap["category"], cap["question"], cap["answers"], cap["impossible"]) == (
        "Cap on Liability",
        "A cap?",
        [],
        True,
    )
    assert cap["id"] == identity(dev, "Cap On Liability")


def test_contracts_of_the_held_out_list_are_in_no_split(commit: Commit) -> None:
    names = cuad.HELD_OUT.read_text(encoding="utf-8").splitlines()
    assert all(cuad.split_of(name) != "test" for name in names)  # else the list is longer than it must be
    row = f'"{names[0]}",[],x\n'
    tree = commit(
        "o/cuad",
        {
            "data/CUAD_v1/master_clauses.csv": "Filename,Parties,Parties-Answer\n" + row,
            f"data/CUAD_v1/full_contract_txt/{names[0].rsplit('.', 1)[0]}.txt": "text",
            "category_descriptions.csv": "Category: Parties,Description: Who?,-,-\n",
        },
    )
    assert [list(rows) for rows in cuad.cuad(tree, tree).values()] == [[], []]


def test_meetings_keep_turns_and_the_spans_of_answers(commit: Commit) -> None:
    meeting = {
        "meeting_transcripts": [{"speaker": "A", "content": "hi"}, {"speaker": "B", "content": "ho"}],
        "topic_list": [{"topic": "greeting", "relevant_text_span": [["0", "1"]]}],
        "general_query_list": [{"query": "all?", "answer": "short"}],
        "specific_query_list": [{"query": "who?", "answer": "B", "relevant_text_span": [["1", "1"]]}],
    }
    tree = commit("o/qmsum", {"data/ALL/val/M1.json": json.dumps(meeting), "data/ALL/test/M2.json": "{}"})
    splits = meetings.qmsum(tree)
    assert list(splits["train"]) == []
    assert list(splits["dev"]) == [
        {
            "id": "M1",
            "turns": [{"speaker": "A", "text": "hi"}, {"speaker": "B", "text": "ho"}],
            "topics": [{"topic": "greeting", "turn_spans": [[0, 1]]}],
            "general": [{"query": "all?", "answer": "short", "turn_spans": []}],
            "specific": [{"query": "who?", "answer": "B", "turn_spans": [[1, 1]]}],
        }
    ]


def test_a_show_has_its_turns_whole_and_its_summaries_by_stretch(commit: Commit) -> None:
    place = {"TURN START": 0, "TURN END": 1, "ALIGNMENT SCORE": 0.12345}
    turns = [{"NAMES": ["A", "B"], "UTTERANCES": ["so", "on"], "NUMBER": 0}]
    tree = commit(
        "o/crd3",
        {
            "data/aligned data/train_files": "E1\nE2\n",
            "data/aligned data/val_files": "",
            "data/aligned data/c=4/E1_4_0.json": json.dumps([{"CHUNK": "They  talk.", "ALIGNMENT": place}]),
            "data/cleaned data/E1.json": json.dumps({"TURNS": turns}),
        },
    )
    (show,) = meetings.crd3(tree)["train"]
    assert show["turns"] == [{"speaker": "A & B", "text": "so on"}]
    assert show["chunks"] == [{"summary": "They talk.", "turn_span": [0, 1], "align_score": 0.123}]


def test_evidence_is_cited_once_from_the_annotations_held_valid(commit: Commit) -> None:
    text = "TITLE: \n\nOf pills\n\nPain fell by half.\n"
    start = text.index("Pain")
    head = "UserID,PromptID,PMCID,Valid Label,Valid Reasoning,Label,Annotations,Label Code,In Abstract,"
    valid, other = f"True,True,significantly {{}},x,-1,y,{start},{start + 9}", "True,False,none,x,0,y,0,5"
    rows = [valid.format("decreased"), valid.format("increased"), other]
    tree = commit(
        "o/evidence",
        {
            "annotations/v2_annotations.csv": f"{head}Evidence Start,Evidence End\n"
            + "".join(f"{i},9,77,{row}\n" for i, row in enumerate(rows)),
            "annotations/prompts_merged.csv": "PromptID,PMCID,Outcome,Intervention,Comparator\n9,77, pain ,pill,none\n",
            "annotations/splits/ev2_train_article_ids.txt": "78\n",
            "annotations/splits/ev2_validation_article_ids.txt": "77\n",
            "annotations/txt_files/PMC77.txt": text,
        },
    )
    splits = evidence.evidence_inference2(tree)
    assert list(splits["train"]) == []
    (paper,) = splits["dev"]
    assert (paper["id"], paper["title"]) == ("PMC77", "Of pills")
    (qa,) = paper["qas"]
    assert qa["question"] == "With respect to pain, what is the reported difference between pill and none?"
    assert qa["outcome"] == " pain "
    assert qa["answers"] == [{"text": "Pain fell", "start": start}]
    assert qa["label"] == "significantly increased"


def test_a_summarized_paper_keeps_its_sections(commit: Commit, monkeypatch: pytest.MonkeyPatch) -> None:
    xml = (
        '<PAPER><S sid="0">A  title</S><ABSTRACT><S sid="1">First &amp; best.</S></ABSTRACT>'
        '<SECTION title="" number="1"><S sid="2">Still abstract.</S></SECTION>'
        '<SECTION title="1 Aims" number="2"><S sid="3">Aims.</S></SECTION></PAPER>'
    )
    name = next(n for i in range(99) if papers.split_of(n := f"P{i}") == "dev")
    tree = commit(
        "o/papers",
        {
            f"{papers.SCISUMMNET}{name}/Reference_XML/{name}.xml": xml,
            f"{papers.SCISUMMNET}{name}/summary/{name}.scisummnet_human.txt": "A title\n\nAll of it. \n",
        },
    )
    splits = papers.scisummnet(tree)
    assert list(splits["train"]) == []
    (paper,) = splits["dev"]
    assert (paper["title"], paper["summary_sentences"]) == ("A title", ["A title", "All of it."])
    assert list(zip(paper["sections"], paper["sentences"], strict=True)) == [
        ("", "A title"),
        ("Abstract", "First & best."),
        ("Abstract", "Still abstract."),
        ("1 Aims", "Aims."),
    ]


def test_a_citing_sentence_names_its_evidence_in_the_order_of_the_paper(commit: Commit) -> None:
    abstract = "We say this. " * 20
    xml = (
        f'<PAPER><S sid="0">A title</S><ABSTRACT><S sid="1">{abstract}</S></ABSTRACT>'
        '<SECTION title="1 Then" number="1"><S sid ="2">Then that.</S></SECTION></PAPER>'
    )
    cited = "No: 1 | Citation Text:  <S sid = >As A title (2001) says, {}.</S> | Reference Offset:  ['2','1'] | x"
    folder = f"{papers.CITED}From-Training-Set-2018/A1"
    tree = commit(
        "o/papers",
        {
            f"{folder}/Reference_XML/A1.xml": xml,
            f"{folder}/annotation/A1.ann.txt": f"{cited.format('both hold at once')}\n\n{cited.format('no')}\n",
        },
    )
    (row,) = papers.citance_to_paper(tree)["dev"]  # the short one is dropped
    assert row == {
        "query": "As A title (2001) says, both hold at once.",
        "positive": f"A title. {abstract.strip()}",
        "paper": "A1",
        "evidence": [abstract.strip(), "Then that."],
    }


def test_a_health_question_is_kept_once(commit: Commit) -> None:
    topic = next(t for i in range(99) if health.split_of(t := f"Flu {i}") == "train")
    pairs_of = "".join(
        f'<QAPair><Question qtype="information">What is {topic} ?</Question><Answer>{answer}</Answer></QAPair>'
        for answer in ("An  illness.\n\n  Of birds.", "An illness.\nOf birds.", "", "Another.")
    )
    document = f'<Document source="S" url="U"><Focus>{topic}</Focus><QAPairs>{pairs_of}</QAPairs></Document>'
    rows = list(health.medquad(commit("o/health", {"1_QA/1.xml": document}))["train"])
    assert [row["positive"] for row in rows] == ["An illness.\nOf birds.", "Another."]
    assert rows[0]["query"] == f"What is {topic}?"


def test_pages_of_commands_give_the_page_and_its_examples(commit: Commit) -> None:
    tools = {
        split: next(t for i in range(999) if shell.split_of(t := f"tool{i}") == split) for split in ("train", "dev")
    }
    text = (
        "# {0}\n\n> Does {0}.\n> See also: `x`.\n> More information: <u>.\n\n"
        "- Run it:\n\n`run {{{{it}}}}`\n\n- Ask {0}:\n\n`{0} -h`\n"
    )
    tree = commit("o/tldr", {f"pages/linux/{tool}.md": text.format(tool) for tool in tools.values()})
    splits = {split: list(rows) for split, rows in shell.tldr_pages(tree).items()}
    page, run, ask = splits["train"]
    assert (page["query"], page["positive"]) == (f"Does {tools['train']}.", text.format(tools["train"]))
    assert (run["query"], run["positive"]) == ("Run it", "run it")
    assert ask["platform"] == "linux"
    assert [row["kind"] for row in splits["dev"]] == ["page", "command"]  # "Run it" is in train already


def test_commands_of_nl2bash_are_split_by_the_command(commit: Commit) -> None:
    commands = [f"ls -{i}" for i in range(40)]
    texts = [f"List as of {i}" for i in range(40)]
    tree = commit("o/bash", {"data/bash/all.nl": "\n".join(texts), "data/bash/all.cm": "\n".join(commands)})
    splits = shell.nl2bash(tree)
    assert [r["positive"] for r in splits["train"]] == [c for c in commands if share("nl2bash", c) < 0.8]
    assert [r["positive"] for r in splits["dev"]] == [c for c in commands if 0.8 <= share("nl2bash", c) < 0.9]


MODULE = '''
if True:
    class Box:
        def open(self, how):
            """Open the box with the key.

            Details.
            """
            if how:
                return self.lock.turn(how, until="it gives way or breaks") or self.force(how)

            def inner():
                """Not a thing of its own at all."""

try:
    import box
except ImportError:
    def fallback(self, how):
        """Open the box without a key at all."""
        return self.lock.turn(how, until="it gives way or breaks") or self.force(how)
'''


def test_definitions_are_cut_from_their_docstrings(commit: Commit) -> None:
    tree = commit("o/sympy", {"sympy/box.py": MODULE, "sympy/tests/test_box.py": MODULE})
    splits = code.python_docstrings(tree)
    (row,) = [*splits["train"], *splits["dev"]]
    assert (row["id"], row["kind"]) == ("sympy/box.py::Box.open", "function")
    assert (row["query"], row["docstring"]) == ("Open the box with the key.", "Open the box with the key.\n\nDetails.")
    assert row["positive"].startswith("def open(self, how):\n    if how:\n        return")
    assert "Details" not in row["positive"]


def test_changes_are_merges_of_few_files_with_titles_that_say_something(commit: Commit, tmp_path: Path) -> None:
    folder = tmp_path / "clones/o/sympy"
    titles = ("Faster sums of long series", "Fix it", "Touches the tests only, not code", "Slower sums of short series")
    tree = commit("o/sympy", {"sympy/a.py": "0", "sympy/tests/test_a.py": "0"})
    for number, title in enumerate(titles):
        git(folder, "checkout", "-q", "-b", f"b{number}")
        new = {"sympy/a.py": f"{number + 1}", "sympy/b.py": "1"} if number != 2 else {}
        commit("o/sympy", {**new, "sympy/tests/test_a.py": f"{number + 1}"})
        git(folder, "checkout", "-q", "-")
        git(folder, "merge", "-q", "--no-ff", f"b{number}", "-m", f"Merge pull request #{number} from me/b\n\n{title}")
        tree = Tree(folder / ".git", git(folder, "rev-parse", "HEAD"))
    splits = {split: list(rows) for split, rows in code.repo_changes(tree).items()}
    (row,) = splits["train"]  # the older of two
    assert splits["dev"] == []
    assert (row["id"], row["query"]) == ("sympy#0", titles[0])
    assert (row["files"], row["tests"]) == (["sympy/a.py"], ["sympy/tests/test_a.py"])  # b.py is new: not to be found
    assert git(folder, "show", f"{row['parent']}:sympy/a.py") == "0"
    assert [file["id"] for file in splits["corpus_sympy_head"]] == ["sympy/a.py", "sympy/b.py"]


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


def test_a_repository_is_fetched_once_and_only_the_files_of_the_source(scored: Source, tmp_path: Path) -> None:
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
