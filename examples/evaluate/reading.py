"""The reader: answers to questions with a passage given, and whether it can tell when a passage does not answer."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from examples.evaluate.measures import best_f1, normalised, word_f1
from examples.evaluate.runner import SEP, Runner
from examples.evaluate.sets import read_rows, split_text

WIDTH = 256  # positions of question and passage together; longer passages in overlapping windows
STRIDE = 100  # tokens
LONGEST = 31  # tokens of an answer
AT_ONCE = {"cuda": 256, "cpu": 64}  # windows
CPU_CONTRACTS = 2  # of at most CPU_CHARS; on a GPU all contracts are read
CPU_CHARS = 15_000
SEED = 0


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a passage with its question before it."""

    pair: int
    ids: list[int]
    head: int  # tokens before the passage
    begin: int  # of the passage's first token here


@dataclass(slots=True)
class Answer:
    """The best span of a passage and how far it is ahead of there being no answer, each over all its windows."""

    score: float = -np.inf  # start + end logit
    text: str = ""
    margin: float = -np.inf  # start + end - 2 × no-answer logit: start and end each face it


def read(
    runner: Runner, questions: Sequence[str], passages: Sequence[str], pairs: Sequence[tuple[int, int]]
) -> list[Answer]:
    """An answer for every pair of a question and a passage, given by number."""
    heads = [text[0] for text in runner.cut(questions)]
    encodings = runner.tokenizer.encode_batch(list(passages), add_special_tokens=False)
    ids, offsets = [e.ids for e in encodings], [e.offsets for e in encodings]
    answers = [Answer() for _ in pairs]
    waiting = _windows(heads, ids, pairs)
    while group := list(islice(waiting, AT_ONCE[runner.device.type])):
        for window, (score, first, last, margin) in zip(group, best_spans(runner, group), strict=True):
            answer, passage = answers[window.pair], pairs[window.pair][1]
            answer.margin = max(answer.margin, margin)
            if score > answer.score:
                s, e = (offsets[passage][window.begin + at - window.head] for at in (first, last))
                answer.score, answer.text = score, passages[passage][s[0] : e[1]]
    return answers


def _windows(
    heads: Sequence[list[int]], ids: Sequence[list[int]], pairs: Sequence[tuple[int, int]]
) -> Iterator[Window]:
    for pair, (question, passage) in enumerate(pairs):
        head = heads[question]
        room = WIDTH - len(head) - 1
        for begin in range(0, max(len(ids[passage]) - room, 0) + STRIDE, STRIDE):
            if part := ids[passage][begin : begin + room]:
                yield Window(pair, [*head, *part, SEP], len(head), begin)


@torch.inference_mode()
def best_spans(runner: Runner, group: Sequence[Window]) -> list[tuple[float, int, int, float]]:
    """Per window: start + end logit of its best span, the span's first and last position, and the margin."""
    lengths = [len(w.ids) for w in group]
    hidden, _ = runner.hidden([w.ids for w in group], list(range(len(group))), False, reading=True)
    states = torch.nn.utils.rnn.pad_sequence(list(hidden.split(lengths)), batch_first=True)  # (B, W, D)
    width = states.shape[1]
    position = torch.arange(width, device=runner.device)
    heads = torch.tensor([w.head for w in group], device=runner.device)[:, None]
    ends = torch.tensor(lengths, device=runner.device)[:, None] - 1
    outside = (position < heads) | (position >= ends)
    logits = runner.model.span(states).masked_fill(outside[..., None], -1e4)
    scores = logits[:, :, None, 0] + logits[:, None, :, 1]  # (B, W, W)
    band = torch.ones(width, width, device=runner.device).triu().tril(LONGEST - 1).bool()
    top = scores.masked_fill(~band, -1e9).flatten(1).max(1)
    margin = top.values - 2 * runner.model.no_answer(states[:, 0])[:, 0]
    found = zip(top.values.tolist(), top.indices.tolist(), margin.tolist(), strict=True)
    return [(score, *divmod(at, width), ahead) for score, at, ahead in found]


@dataclass(frozen=True, slots=True)
class Squad:
    """SQuAD v1.1 dev by article."""

    passages: list[str]
    article: list[range]  # of each passage: all passages of its article
    questions: list[str]
    own: list[int]  # passage of each question
    golds: list[list[str]]  # normalised

    @classmethod
    def load(cls, tasks: Path, limit: int | None) -> Squad:
        squad = cls([], [], [], [], [])
        for row in islice(read_rows(tasks / "squad_article/dev_v1.jsonl.zst"), limit):
            first, spans = len(squad.passages), row["paragraph_spans"]
            squad.passages.extend(row["context"][a:b] for a, b in spans)
            squad.article.extend([range(first, first + len(spans))] * len(spans))
            for qa in row["qas"]:
                start = qa["answers"][0]["start"]
                squad.questions.append(qa["question"])
                squad.own.append(first + next(i for i, (a, b) in enumerate(spans) if a <= start < b))
                squad.golds.append([normalised(x["text"]) for x in qa["answers"]])
        return squad


def exact_and_f1(runner: Runner, squad: Squad) -> dict[str, float]:
    """Exact match and F1 in percent, each question with its paragraph; empty answers not allowed."""
    found = read(runner, squad.questions, squad.passages, list(enumerate(squad.own)))
    answers = [normalised(one.text) for one in found]
    exact = np.mean([a in gold for a, gold in zip(answers, squad.golds, strict=True)])
    f1 = np.mean([max(word_f1(a, g) for g in gold) for a, gold in zip(answers, squad.golds, strict=True)])
    return {"questions": len(answers), "EM": 100 * float(exact), "F1": 100 * float(f1)}


def squad_abstention(runner: Runner, squad: Squad) -> dict[str, float]:
    """Half of the questions put to their own passage, half to another one of the same article."""
    draw = random.Random(SEED)
    order = list(range(len(squad.questions)))
    draw.shuffle(order)
    pairs, answerable = [], []
    for rank, question in enumerate(order):
        own = squad.own[question]
        others = [passage for passage in squad.article[own] if passage != own]
        answers = not others or rank < len(order) // 2
        pairs.append((question, own if answers else draw.choice(others)))
        answerable.append(answers)
    margins = [one.margin for one in read(runner, squad.questions, squad.passages, pairs)]
    return abstention(margins, answerable)


def cuad_abstention(runner: Runner, tasks: Path, limit: int | None) -> dict[str, float]:
    """Every clause question to every segment of its contract; a contract answers as surely as its best segment."""
    margins, answerable = [], []
    contracts = chosen_contracts(list(read_rows(tasks / "cuad/dev.jsonl.zst")), runner.device.type, limit)
    for row in contracts:
        segments, questions = split_text(row["context"]), [qa["question"] for qa in row["qas"]]
        pairs = [(q, s) for q in range(len(questions)) for s in range(len(segments))]
        found = np.array([one.margin for one in read(runner, questions, segments, pairs)])
        margins += found.reshape(len(questions), len(segments)).max(1).tolist()
        answerable += [bool(qa["answers"]) for qa in row["qas"]]
    return {"contracts": len(contracts), **abstention(margins, answerable)}


def chosen_contracts(rows: Sequence[dict[str, Any]], device: str, limit: int | None) -> Sequence[dict[str, Any]]:
    if device != "cpu":
        return rows[:limit]
    short = [row for row in rows if len(row["context"]) <= CPU_CHARS]
    count = min(CPU_CONTRACTS if limit is None else limit, len(short))
    return random.Random(SEED).sample(short, count)


def abstention(margins: Sequence[float], answerable: Iterable[bool]) -> dict[str, float]:
    """Best F1 of "answers" over all thresholds, and what answering always would reach."""
    positive = np.array(list(answerable))
    f1, threshold = best_f1(np.array(margins), positive)
    always = 200 * float(positive.mean()) / (1 + float(positive.mean()))
    return {"questions": len(positive), "best F1": f1, "threshold": threshold, "always": always}
