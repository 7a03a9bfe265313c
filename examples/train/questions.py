"""One batch of the reader: windows of a question and a passage, packed into one token stream of a fixed length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from examples.train.packed import WIDTH

SETS = (("squad", 0.66), ("cuad", 0.15), ("evidence", 0.06), ("corpus", 0.13))
TOKENS = 1 << 16
ELSEWHERE = 0.22  # share of questions put to another passage of the same document
FOREIGN = 0.05  # share put to a passage of any document of the corpus
IMPOSSIBLE = 0.5  # share of CUAD's windows with a question that the whole contract does not answer
CROPPED = 0.5  # share of answered passages that begin later, so that the answer's place says nothing
LEAST = 48  # tokens that a cropped passage keeps


@dataclass
class Questions:
    windows: np.ndarray  # (N, 5) int64: question, passage, total tokens; the last ones only fill up
    answers: np.ndarray  # (N, 3) first and last token of the answer in the window (-1: none), first passage token


@dataclass
class QuestionSampler:
    arrays: dict[str, np.ndarray]
    seed: int

    def __post_init__(self) -> None:
        self.draw = np.random.default_rng(self.seed)

    def batch(self) -> Questions:
        rows: list[tuple[int, ...]] = []
        answers: list[tuple[int, int, int]] = []
        used = 0
        while True:
            row, answer = self.question()
            if used + row[4] > TOKENS:
                break
            rows.append(row)
            answers.append(answer)
            used += row[4]
        while used < TOKENS:
            size = min(WIDTH, TOKENS - used)
            rows.append((0, WIDTH, 0, 0, size))
            used += size
        return Questions(np.array(rows, np.int64), np.array(answers, np.int64))

    def question(self) -> tuple[tuple[int, ...], tuple[int, int, int]]:
        name = self.draw.choice([n for n, _ in SETS], p=[p for _, p in SETS])
        table = self.arrays[f"{name}.answers"]
        i = int(self.draw.integers(len(table)))
        segment, start, end = map(int, table[i])
        question = self.arrays[f"{name}.questions"][i]
        answered, v = True, self.draw.random()
        passages = self.arrays[f"{name}.segments"]
        if name == "cuad" and self.draw.random() < IMPOSSIBLE:
            j = int(self.draw.integers(len(self.arrays["cuad.impossible"])))
            question, answered = self.arrays["cuad.impossible"][j], False
            first, count = self.arrays["cuad.documents"][self.arrays["cuad.impossible_document"][j]]
            segment = int(first + self.draw.integers(count))
        elif v < ELSEWHERE:
            segment, answered = self._neighbour(name, segment), False
        elif v < ELSEWHERE + FOREIGN:
            passages, answered = self.arrays["corpus.segments"], False
            segment = int(self.draw.integers(len(passages)))
        offset, length = map(int, passages[segment])
        if answered and self.draw.random() < CROPPED and min(start, length - LEAST) > 0:
            skipped = int(self.draw.integers(min(start, length - LEAST) + 1))
            offset, length, start, end = offset + skipped, length - skipped, start - skipped, end - skipped
        begin = int(question[1]) + 2
        row = (int(question[0]), int(question[1]), offset, length, begin + length + 1)
        return row, (start + begin, end + begin, begin) if answered else (-1, -1, begin)

    def _neighbour(self, name: str, segment: int) -> int:
        """Another segment of the same document, or the segment itself if there is no other."""
        table = self.arrays[f"{name}.documents"]
        first, count = table[np.searchsorted(table[:, 0], segment, side="right") - 1]
        if count < 2:
            return segment
        other = int(first + self.draw.integers(count - 1))
        return other if other < segment else other + 1
