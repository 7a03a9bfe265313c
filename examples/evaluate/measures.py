"""What a figure is: nDCG@k a query, Spearman, words in common, and the best F1 that a threshold can reach."""

from __future__ import annotations

import collections
import re
import string
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

K = 10
Figures = NDArray[np.float64]


def ndcg(scores: torch.Tensor, gold: Sequence[Sequence[int]], k: int = K) -> Figures:
    """nDCG@k of each query in percent, binary gains.

    scores : (Q, n), -inf for what is not found at all; gold : Q lists of columns
    """
    gains = torch.from_numpy(1 / np.log2(np.arange(2, k + 2))).to(scores.device)
    wanted = torch.zeros(scores.shape, dtype=torch.bool, device=scores.device)
    rows = [i for i, columns in enumerate(gold) for _ in columns]
    wanted[rows, [column for columns in gold for column in columns]] = True
    top = scores.topk(min(k, scores.shape[1]), dim=1)
    hits = wanted.gather(1, top.indices) & top.values.isfinite()
    reached = (hits * gains[: hits.shape[1]]).sum(1)
    ideal = gains.cumsum(0)[wanted.sum(1).clamp(max=k) - 1]
    figures: Figures = (100 * reached / ideal).cpu().numpy()
    return figures


def spearman(a: Figures, b: Figures) -> float:
    """Rank correlation with average ranks for ties."""

    def ranks(x: Figures) -> Figures:
        _, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        ends = counts.cumsum()
        return np.asarray((ends - (counts - 1) / 2)[inverse])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def best_f1(scores: Figures, positive: NDArray[np.bool_]) -> tuple[float, float]:
    """The highest F1 in percent of "score >= threshold" against `positive`, and that threshold."""
    if not positive.any():
        return 0.0, float("inf")
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    right = positive[order].cumsum()
    f1 = 2 * right / (np.arange(1, len(scores) + 1) + positive.sum())
    last = np.append(ranked[1:] != ranked[:-1], True)  # a threshold takes all equal scores or none
    best = int(np.argmax(np.where(last, f1, -1)))
    return 100 * float(f1[best]), float(ranked[best])


def normalised(text: str) -> str:
    """SQuAD's answer normalisation."""
    text = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def word_f1(answer: str, gold: str) -> float:
    a, g = answer.split(), gold.split()
    common = sum((collections.Counter(a) & collections.Counter(g)).values())
    return 2 * common / (len(a) + len(g)) if common else 0.0
