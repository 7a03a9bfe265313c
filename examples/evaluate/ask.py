"""`lindoc ask` end to end on dev documents: retrieval, reading and abstention as a user gets them.

    python -m examples.evaluate.ask --tasks DATA/tasks

SQuAD: questions to their whole article, and as many to another article, which does not answer them. CUAD: the clauses
a contract has and those it lacks. F1 of words over the answerable questions; answered: F1 of answer against no answer.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from examples.evaluate.collection import require
from examples.evaluate.measures import normalised, word_f1
from examples.evaluate.sets import read_rows
from lindoc.core.formats import find_sources
from lindoc.core.pipeline import Library
from lindoc.core.store import Store
from lindoc.models.encoder import Encoder
from lindoc.models.registry import load_encoder

LONGEST_CONTRACT = 90_000  # characters
Asked = tuple[str, str, list[str]]  # text, question, accepted answers (none: not answerable)


def squad(tasks: Path, documents: int, questions: int, draw: random.Random) -> Iterator[list[Asked]]:
    rows = list(read_rows(tasks / "squad_article/dev_v1.jsonl.zst"))
    draw.shuffle(rows)
    for i, row in enumerate(rows[:documents]):
        own = draw.sample(row["qas"], questions)
        foreign = draw.sample(rows[i - 1]["qas"], questions)
        yield [(row["context"], qa["question"], [a["text"] for a in qa["answers"]]) for qa in own] + [
            (row["context"], qa["question"], []) for qa in foreign
        ]


def cuad(tasks: Path, documents: int, questions: int, draw: random.Random) -> Iterator[list[Asked]]:
    rows = [row for row in read_rows(tasks / "cuad/dev.jsonl.zst") if len(row["context"]) < LONGEST_CONTRACT]
    draw.shuffle(rows)
    for row in rows[:documents]:
        asked = [(row["context"], qa["question"], [a["text"] for a in qa["answers"]]) for qa in row["qas"]]
        for wanted in ([one for one in asked if one[2]], [one for one in asked if not one[2]]):
            yield draw.sample(wanted, min(questions, len(wanted)))


def measure(name: str, documents: Iterator[list[Asked]], encoder: Encoder) -> None:
    scores: list[float] = []
    right = wrong = missed = 0
    library: Library | None = None
    read = ""
    with tempfile.TemporaryDirectory() as folder:
        for asked in documents:
            for text, question, golds in asked:
                if library is None or text != read:
                    file = Path(folder) / "document.txt"
                    file.write_text(text, encoding="utf-8")
                    library, read = Library(encoder, Store.open(None, encoder=encoder)), text
                    library.read(find_sources([str(file)]))
                answer = library.ask(question)
                if golds:
                    said = normalised(answer.answer)
                    scores.append(max(word_f1(said, normalised(gold)) for gold in golds))
                right += answer.answerable and bool(golds)
                wrong += answer.answerable and not golds
                missed += not answer.answerable and bool(golds)
    answered = 2 * right / max(2 * right + wrong + missed, 1)
    f1 = sum(scores) / len(scores)
    print(
        f"{name:8} {len(scores):5} answerable  F1 {100 * f1:6.2f}  answered {100 * answered:6.2f} "
        f"(right {right}, wrongly answered {wrong}, missed {missed})",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--articles", type=int, default=12)
    parser.add_argument("--contracts", type=int, default=6)
    parser.add_argument("--questions", type=int, default=8, help="answerable ones a document, and as many others")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    require([args.tasks / "squad_article/dev_v1.jsonl.zst", args.tasks / "cuad/dev.jsonl.zst"], args.tasks)
    encoder, draw = load_encoder("lindoc-small"), random.Random(args.seed)
    measure("squad", squad(args.tasks, args.articles, args.questions, draw), encoder)
    measure("cuad", cuad(args.tasks, args.contracts, args.questions, draw), encoder)


if __name__ == "__main__":
    main()
