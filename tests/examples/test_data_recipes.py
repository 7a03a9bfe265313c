"""What a file or table of each public source becomes, on small source trees."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples.data import code, cuad, evidence, health, meetings, papers, shell
from examples.data.rows import identity, share
from examples.data.sources import Tree

Commit = Callable[[str, dict[str, str]], Tree]


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


def test_changes_are_merges_of_few_files_with_titles_that_say_something(
    commit: Commit, tmp_path: Path, git: Callable[..., str]
) -> None:
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
