"""ROUGE-1, ROUGE-2 and ROUGE-L as F1 in percent (Lin, 2004), words in lower case, without stemming."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

MEASURES = ("ROUGE-1", "ROUGE-2", "ROUGE-L")


def rouge(summary: str, reference: str) -> dict[str, float]:
    ours, theirs = words(summary), words(reference)
    common = [_in_common(ours, theirs, 1), _in_common(ours, theirs, 2), longest_common(ours, theirs)]
    lengths = [(len(ours) + 1 - n, len(theirs) + 1 - n) for n in (1, 2, 1)]
    return {
        name: 200 * shared / max(a + b, 1) if shared else 0.0
        for name, shared, (a, b) in zip(MEASURES, common, lengths, strict=True)
    }


def best_rouge(summary: str, references: Sequence[str]) -> dict[str, float]:
    """Each measure against the reference that suits it best, as SciTLDR's authors do."""
    each = [rouge(summary, reference) for reference in references]
    return {name: max(one[name] for one in each) for name in MEASURES}


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _in_common(a: Sequence[str], b: Sequence[str], n: int) -> int:
    grams = [Counter(zip(*(some[i:] for i in range(n)), strict=False)) for some in (a, b)]
    return sum((grams[0] & grams[1]).values())


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0  # of the row above, one to the left
        for j, other in enumerate(b, 1):
            above = row[j]
            row[j] = before + 1 if word == other else max(above, row[j - 1])
            before = above
    return row[-1]
