"""One training batch: windows of every objective packed into one token stream of a fixed length.

The first region holds documents (their windows use the memory), the second single windows (queries and pairs). Each
region is filled up to its budget with filler windows, so that the number of tokens never changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from examples.train.packed import WIDTH

ABSENT = (0, 0, 0, 0, 0)  # offset and length of part A, of part B, total tokens

# documents × windows of each set, and the order of the regions' groups
DOCUMENTS = {"corpus": (12, 32), "squad": (5, 40), "other": (4, 80), "salience": (3, 12)}
OTHERS = (("cuad", 0.24), ("qmsum", 0.32), ("evidence", 0.2), ("crd3", 0.24))
QUERIES = {"corpus": (12, 0.5), "squad": (20, 0.8), "other": (24, 0.75)}  # at most so many a document; weight of one
MAX_QUERIES = 320
PAIRS, STS, SHORT = 192, 32, 192
RESET = {"corpus": 0.3, "squad": 0.2, "other": 0.15, "salience": 0.0}
HELD = {"corpus": 1.0, "squad": 0.5, "other": 0.2, "salience": 0.0}  # weight of a segment's likeness to the teacher's


@dataclass
class Batch:
    windows: np.ndarray  # (N, 5) int64
    cu_documents: np.ndarray  # window borders of the documents of the first region
    n_carried: int
    groups: dict[str, slice]  # windows of each group
    segment: np.ndarray  # (carried windows,) index among all sets' segments, 0 for absent
    plain: np.ndarray  # (carried windows,) bool: the target is the bare segment's
    held: np.ndarray  # (carried windows,) float64, weight of the target
    document: np.ndarray  # (carried windows,) number of its document in the batch, -1 for absent
    query_index: np.ndarray  # (MAX_QUERIES,) among all sets' queries, 0 for absent
    query_weight: np.ndarray  # (MAX_QUERIES,) float32, 0 for absent
    gold: np.ndarray  # (G, 2) query, window
    sentences: np.ndarray  # (S, 4) window, token span, label
    sts_score: np.ndarray  # (STS,)
    short_index: np.ndarray  # (SHORT,)


@dataclass
class Sampler:
    arrays: dict[str, np.ndarray]
    seed: int
    budgets: tuple[int, int] | None = None  # tokens of the first region and of all
    by_document: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.draw = np.random.default_rng(self.seed)
        self.names = ("corpus", "squad", *(n for n, _ in OTHERS), "salience")
        self.first: dict[tuple[str, str], int] = {}  # of each set's segments and queries among all
        for kind in ("segments", "queries"):
            counts = [len(self.arrays[f"{name}.{kind}"]) for name in self.names]
            self.first |= {(name, kind): sum(counts[:i]) for i, name in enumerate(self.names)}
        for name in self.names[:-1]:
            owner = self.arrays[f"{name}.query_document"]
            borders = np.searchsorted(owner, np.arange(len(self.arrays[f"{name}.documents"]) + 1))
            self.by_document[name] = [np.arange(a, b) for a, b in pairwise(borders)]
        self.gold: dict[str, list[np.ndarray]] = {}
        for name in self.by_document:
            gold = self.arrays[f"{name}.gold"]
            borders = np.searchsorted(gold[:, 0], np.arange(len(self.arrays[f"{name}.queries"]) + 1))
            self.gold[name] = np.split(gold[:, 1], borders[1:-1])
        rows = self.arrays["salience.sentences"]
        borders = np.searchsorted(rows[:, 0], np.arange(len(self.arrays["salience.segments"]) + 1))
        self.sentences = np.split(rows, borders[1:-1])

    def stretch(self, count: int, windows: int) -> np.ndarray:
        """Segments of one document: all, or its head and a run from further on (the state must last)."""
        if count <= windows:
            return np.arange(count)
        head = int(self.draw.choice((0, 2, 4)))
        begin = int(self.draw.integers(head, count - (windows - head) + 1))
        return np.concatenate([np.arange(head), np.arange(begin, begin + windows - head)])

    def batch(self) -> Batch:
        windows: list[tuple[int, ...]] = []
        documents = [0]
        groups: dict[str, slice] = {}
        queries: list[tuple[str, int, list[int], float]] = []  # set, query, gold windows, weight
        targets: list[tuple[int, bool, float, int]] = []  # segment, whether bare, weight, document; of each window
        sentences: list[tuple[float, ...]] = []
        for group, (n_document, n_window) in DOCUMENTS.items():
            name = group if group != "other" else self.draw.choice([n for n, _ in OTHERS], p=[p for _, p in OTHERS])
            begin = len(windows)
            table, spans = self.arrays[f"{name}.documents"], self.arrays[f"{name}.segments"]
            share = (
                np.minimum(table[:, 1], n_window) / np.minimum(table[:, 1], n_window).sum()
            )  # longer ones more often
            for d in self.draw.choice(len(table), n_document, p=share):
                first, count = table[d]
                chosen = first + self.stretch(int(count), n_window)
                place = {int(s): len(windows) + i for i, s in enumerate(chosen)}
                reset = self.draw.random() < RESET[group]
                windows += [(*spans[s], 0, 0, spans[s][1] + 2) for s in chosen] + [ABSENT] * (n_window - len(chosen))
                documents += range(documents[-1] + 1, len(windows) + 1) if reset else [len(windows)]
                number = len(targets)
                targets += [
                    (self.first[name, "segments"] + int(s), reset or s == first, HELD[group], number) for s in chosen
                ]
                targets += [(0, True, 0.0, -1)] * (n_window - len(chosen))
                if group == "salience":
                    sentences += [(place[s], a + 1, b + 1, y) for s in place for _, a, b, y in self.sentences[s]]
                else:
                    queries += self._queries(name, int(d), place, group)
            groups[group] = slice(begin, len(windows))
        n_carried = self._fill(windows, 0, 0)
        documents.append(n_carried)
        targets += [(0, True, 0.0, -1)] * (n_carried - len(targets))
        return self._singles(windows, documents, n_carried, groups, queries, targets, sentences)

    def _queries(self, name: str, d: int, place: dict[int, int], group: str) -> list[tuple[str, int, list[int], float]]:
        limit, weight = QUERIES[group]
        found = []
        for q in self.draw.permutation(self.by_document[name][d])[: 4 * limit]:
            gold = [place[s] for s in map(int, self.gold[name][q]) if s in place]
            if gold:
                found.append((name, int(q), gold, weight))
            if len(found) == limit:
                break
        return [(n, q, g, w / max(len(found), 1)) for n, q, g, w in found]

    def _singles(self, windows, documents, n_carried, groups, queries, targets, sentences) -> Batch:  # type: ignore[no-untyped-def]
        def add(group: str, rows: list[tuple[int, ...]]) -> None:
            groups[group] = slice(len(windows), len(windows) + len(rows))
            windows.extend(rows)

        def texts(key: str, index: np.ndarray) -> list[tuple[int, ...]]:
            return [(*self.arrays[key][i], 0, 0, self.arrays[key][i][1] + 2) for i in index]

        queries = [(n, q, [w for w in gold if windows[w] != ABSENT], x) for n, q, gold, x in queries]
        queries = [query for query in queries if query[2]]  # the others' gold went over the budget
        queries = [queries[i] for i in self.draw.permutation(len(queries))[:MAX_QUERIES]]
        spans = [self.arrays[f"{name}.queries"][q] for name, q, _, _ in queries]
        add("queries", [(*s, 0, 0, s[1] + 2) for s in spans] + [ABSENT] * (MAX_QUERIES - len(spans)))
        weight, index = np.zeros(MAX_QUERIES, np.float32), np.zeros(MAX_QUERIES, np.int64)
        weight[: len(queries)] = [w for *_, w in queries]
        index[: len(queries)] = [self.first[name, "queries"] + q for name, q, _, _ in queries]
        gold = np.array([(i, w) for i, (_, _, ws, _) in enumerate(queries) for w in ws], np.int64).reshape(-1, 2)
        pair = self.draw.integers(0, len(self.arrays["pairs.queries"]), PAIRS)
        add("pair_queries", texts("pairs.queries", pair))
        add("pair_positives", texts("pairs.positives", pair))
        sts = self.draw.integers(0, len(self.arrays["sts.score"]), STS)
        add("sts_a", texts("sts.a", sts))
        add("sts_b", texts("sts.b", sts))
        short = self.draw.integers(0, len(self.arrays["short.texts"]), SHORT)
        add("short", texts("short.texts", short))
        self._fill(windows, n_carried, 1)
        batch = Batch(
            np.array(windows, np.int64), np.array(documents, np.int64), n_carried, groups,
            *(np.array(column) for column in zip(*targets, strict=True)), index, weight, gold,
            np.array(sentences, np.float32).reshape(-1, 4), self.arrays["sts.score"][sts], short,
        )  # fmt: skip
        return batch

    def _fill(self, windows: list[tuple[int, ...]], begin: int, region: int) -> int:
        """Drop windows over the region's budget, then fill it up. Returns the number of windows so far."""
        if self.budgets is None:
            return len(windows)
        budget = self.budgets[region] - (self.budgets[0] if region else 0)
        used = sum(w[4] for w in windows[begin:])
        i = len(windows) - 1
        while used > budget:
            used -= windows[i][4]
            windows[i] = ABSENT
            i -= 1
        while used < budget:
            size = min(WIDTH, budget - used)
            windows.append((0, WIDTH, 0, 0, size))
            used += size
        return len(windows)

    def set_budgets(self, trials: int = 40) -> None:
        """Budgets from a few draws: most batches fit the first region's, all fit the second's."""
        sizes = []
        for _ in range(trials):
            batch = self.batch()
            carried = int(batch.windows[: batch.n_carried, 4].sum())
            sizes.append((carried, int(batch.windows[:, 4].sum()) - carried))
        first, second = np.quantile(sizes, 0.8, axis=0)[0], 1.02 * np.max(sizes, axis=0)[1]
        carried_budget = -(-int(first) // 1024) * 1024
        self.budgets = carried_budget, carried_budget + -(-int(second) // 1024) * 1024
