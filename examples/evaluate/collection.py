"""A labelled set as one pool: what is searched, by which queries, and what each of them should find."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from examples.evaluate.contextual import contextual
from examples.evaluate.sets import FILES, LabelledDocument, load, read_rows, split_text

FAR = 40  # segments before the first gold one
PAIRS = ("python_docstrings", "medquad", "citance_to_paper", "tldr_pages")  # query and positive, no documents
SETS = ("cuad", "qmsum", "evidence", "squad", "contextual", "repo_changes", *PAIRS)


@dataclass(frozen=True, slots=True)
class Collection:
    """`gold` counts segments over the whole pool, or documents if `whole`: there a document scores as its best segment.
    `groups` are the rows of the table: what follows the set's name, and which queries."""

    name: str
    documents: list[list[str]]  # segments in reading order
    titles: list[str]  # of the documents; "" where there is none
    queries: list[str]
    gold: list[list[int]]
    own: list[int]  # document of each query; empty where candidates of one document alone make no sense
    groups: dict[str, list[int]] = field(default_factory=dict)
    alone: bool = False  # passages without documents: nothing to carry
    whole: bool = False

    @property
    def segments(self) -> list[str]:
        return [segment for document in self.documents for segment in document]

    @property
    def owners(self) -> list[int]:
        """Document of each segment."""
        return [i for i, document in enumerate(self.documents) for _ in document]


def collect(tasks: Path, name: str, corpus: Path, limit: int | None = None) -> Collection:
    """The dev split of a set; `limit`: its first documents only, or the first queries of a set without documents."""
    if name in PAIRS:
        rows = list(read_rows(tasks / name / "dev.jsonl.zst"))[:limit]
        return from_pairs(name, [(row["query"], row["positive"]) for row in rows])
    if name == "repo_changes":
        return repository(tasks / name, limit)
    if name == "contextual":
        return from_documents(name, contextual(read_rows(corpus), limit))
    return from_documents(name, load(tasks, name, "dev")[:limit])


def from_documents(name: str, documents: list[LabelledDocument]) -> Collection:
    first = list(accumulate((len(d.segments) for d in documents), initial=0))
    asked = [(text, gold, i) for i, d in enumerate(documents) for text, gold in d.queries]
    everything = list(range(len(asked)))
    if name == "squad":  # each question stands there bare and then with the title
        groups = {" question": everything[::2], " title: question": everything[1::2]}
    else:
        groups = {"": everything, " far": [q for q, (_, gold, _) in enumerate(asked) if min(gold) >= FAR]}
        for kind in sorted({d.kind for d in documents} - {""}):
            groups[f" {kind}"] = [q for q, (_, _, i) in enumerate(asked) if documents[i].kind == kind]
    return Collection(
        name,
        [d.segments for d in documents],
        [d.title for d in documents],
        [text for text, _, _ in asked],
        [[first[i] + g for g in gold] for _, gold, i in asked],
        [i for _, _, i in asked],
        groups,
    )


def from_pairs(name: str, pairs: Sequence[tuple[str, str]]) -> Collection:
    """Queries and their positives among all positives; equal texts are one passage."""
    passages = {text: i for i, text in enumerate(dict.fromkeys(positive for _, positive in pairs))}
    return Collection(
        name,
        [[text] for text in passages],
        [""] * len(passages),
        [query for query, _ in pairs],
        [[passages[positive]] for _, positive in pairs],
        [],
        {"": list(range(len(pairs)))},
        alone=True,
    )


def repository(folder: Path, limit: int | None = None) -> Collection:
    """Titles of pull requests -> the files of the repository that they change, as far as it still has them."""
    files = {row["id"]: row for row in read_rows(folder / "corpus_sympy_head.jsonl.zst")}
    asked = [(row["query"], [f for f in row["files"] if f in files]) for row in read_rows(folder / "dev.jsonl.zst")]
    asked = [(query, found) for query, found in asked if found][:limit]
    if limit is not None:
        wanted = {f for _, found in asked for f in found}
        files = {f: row for f, row in files.items() if f in wanted}
    number = {f: i for i, f in enumerate(files)}
    return Collection(
        "repo_changes",
        [split_text(row["text"]) or [row["title"]] for row in files.values()],
        [row["title"] for row in files.values()],
        [query for query, _ in asked],
        [[number[f] for f in found] for _, found in asked],
        [],
        {"": list(range(len(asked)))},
        whole=True,
    )


def needed(tasks: Path, names: Sequence[str], corpus: Path) -> list[Path]:
    """The files that the sets are read from."""
    files: dict[str, Callable[[], list[Path]]] = {
        "contextual": lambda: [corpus],
        "repo_changes": lambda: [tasks / f"repo_changes/{part}.jsonl.zst" for part in ("dev", "corpus_sympy_head")],
    }
    found: list[Path] = []
    for name in names:
        plain = FILES.get(name, name + "/{}").format("dev")
        found += files[name]() if name in files else [tasks / f"{plain}.jsonl.zst"]
    return found


def require(files: Sequence[Path], tasks: Path) -> None:
    """Ends the program with exit code 4 if a file is missing, and says in one line how to get it."""
    missing = [file for file in files if not file.is_file()]
    if missing:
        sets = sorted({file.parent.name for file in missing if file.is_relative_to(tasks)})
        how = f"python -m examples.data.build --out {tasks} --sets {' '.join(sets)}; " if sets else ""
        others = f", and {len(set(missing)) - 1} more" if len(set(missing)) > 1 else ""
        print(
            f"{missing[0]} is missing{others}: {how}what that does not build belongs at {tasks}/NAME/dev.jsonl.zst and "
            f"{tasks.parent}/pretrain/valid.jsonl.zst, or leave it out with --sets",
            file=sys.stderr,
        )
        raise SystemExit(4)
