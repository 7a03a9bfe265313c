"""CUAD: 41 questions a contract, with the clauses that lawyers marked."""

from __future__ import annotations

import ast
import csv
import io
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from examples.data.rows import Row, Splits, identity, share
from examples.data.sources import Source, Tree

FOLDER = "data/CUAD_v1"
CONTRACTS = Source(
    "maastrichtlawtech/law3027-advanced-legal-analytics",
    "77c8f5a3cc2e6e5e3793b43f84a3bc097a414f9e",
    (f"/{FOLDER}/master_clauses.csv", f"/{FOLDER}/full_contract_txt/"),
)
CATEGORIES = Source(
    "TheAtticusProject/cuad", "67faa0e6023b04fcaae6cc09497ab00e5d63a2a2", ("/category_descriptions.csv",)
)
HELD_OUT = Path(__file__).with_name("cuad_held_out.txt")  # contracts of L-Eval: a test, whatever their hash
OMITTED = "<omitted>"  # stands where a clause goes on after a page break


def cuad(contracts: Tree, categories: Tree) -> Splits:
    return {split: _contracts(contracts, categories, split) for split in ("train", "dev")}


def split_of(name: str) -> str:
    """By a hash of the name: 75 % train, 10 % dev, the rest test."""
    part = share("cuad", name)
    return "train" if part < 0.75 else "dev" if part < 0.85 else "test"


def _contracts(tree: Tree, categories: Tree, split: str) -> Iterator[Row]:
    asked = _questions(categories)
    held_out = set(HELD_OUT.read_text(encoding="utf-8").splitlines())
    texts = {_stem(name): name for name in tree.names(f"{FOLDER}/full_contract_txt/", ".txt")}
    pdfs = {PurePosixPath(name).name: name for name in tree.names(f"{FOLDER}/full_contract_pdf/")}
    for row in csv.reader(io.StringIO(tree.text(f"{FOLDER}/master_clauses.csv"), newline="")):
        if row[0] == "Filename":
            columns = [(name, *asked[name.lower()]) for name in row[1::2]]
        elif split_of(row[0]) == split and row[0] not in held_out and _stem(row[0]) in texts:
            context = tree.text(texts[_stem(row[0])])
            page = _Page(context)
            cells = zip(columns, islice(row, 1, None, 2), islice(row, 2, None, 2), strict=True)
            yield {
                "id": row[0],
                "title": row[0],
                "context": context,
                "qas": [_asked(row[0], *column, page.find(ast.literal_eval(c)), value) for column, c, value in cells],
                "pdf": pdfs.get(row[0]),
                "in_leval": False,
            }


def _questions(tree: Tree) -> dict[str, tuple[str, str]]:
    """Category in small letters -> category, question."""
    questions = {}
    for row in csv.reader(io.StringIO(tree.text("category_descriptions.csv", "utf-8-sig"), newline="")):
        name, question = (cell.partition(":")[2].strip() for cell in row[:2])
        questions[name.lower()] = name, question
    return questions


def _stem(name: str) -> str:
    """Names of the table and of the files differ in what they end with. Eight contracts differ by more: left out."""
    return PurePosixPath(name).name.rsplit(".", 1)[0].rstrip(" -")


class _Page:
    """A text in which quotes are found whatever their spaces and capitals."""

    def __init__(self, text: str):
        self.text = text
        self.letters, self.places = _letters(text)

    def find(self, clauses: list[str]) -> list[dict[str, Any]]:
        answers = []
        for clause in clauses:
            for part in clause.split(OMITTED):
                letters, _ = _letters(part)
                at = self.letters.find(letters)
                if len(letters) >= 3 and at >= 0:
                    start, end = self.places[at], self.places[at + len(letters) - 1] + 1
                    answers.append({"text": self.text[start:end], "start": start})
        return answers


def _letters(text: str) -> tuple[str, list[int]]:
    """The text without spaces in small letters, and where each of them stands."""
    places = [i for i, letter in enumerate(text) if not letter.isspace()]
    small = (letter if len(letter.lower()) > 1 else letter.lower() for letter in map(text.__getitem__, places))
    return "".join(small), places


def _asked(
    contract: str, column: str, category: str, question: str, answers: list[dict[str, Any]], value: str
) -> dict[str, Any]:
    return {
        "id": identity(contract, column),
        "question": question,
        "category": category,
        "answers": answers,
        "impossible": not answers,
        "answer_value": value,
    }
