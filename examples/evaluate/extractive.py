"""TextRank and LexRank of `sumy` on sentences that are given, rated in processes of their own. No torch here."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import re
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor

BASELINES = ("TextRank", "LexRank")
MOST_PROCESSES = 12


def is_installed() -> bool:
    return importlib.util.find_spec("sumy") is not None


def pool() -> ProcessPoolExecutor:
    """Processes that start fresh: a forked one would share this one's GPU."""
    count = min(os.cpu_count() or 1, MOST_PROCESSES)
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"))


def submit(executor: ProcessPoolExecutor, documents: Sequence[Sequence[str]]) -> list[Future[dict[str, list[float]]]]:
    return [executor.submit(ratings, list(sentences)) for sentences in documents]


def ratings(sentences: list[str]) -> dict[str, list[float]]:
    """A rating of every sentence by each baseline, without stop words and with stems, as in sumy's readme.

    The summarizers' own cut to the best n is replaced, so that one rating serves every length.
    """
    from sumy.models.dom import ObjectDocumentModel, Paragraph, Sentence
    from sumy.nlp.stemmers import Stemmer
    from sumy.summarizers.lex_rank import LexRankSummarizer
    from sumy.summarizers.text_rank import TextRankSummarizer
    from sumy.utils import get_stop_words

    document = ObjectDocumentModel([Paragraph([Sentence(text, _Words) for text in sentences])])
    found: dict[str, list[float]] = {}
    for name, summarizer in zip(BASELINES, (TextRankSummarizer, LexRankSummarizer), strict=True):
        rater = summarizer(Stemmer("english"))
        rater.stop_words = get_stop_words("english")
        rater._get_best_sentences = lambda all_, _, rating: [float(rating[one]) for one in all_]
        found[name] = list(rater(document, len(sentences)))
    return found


class _Words:
    """What sumy's sentences ask of a tokenizer; its own one downloads."""

    @staticmethod
    def to_words(text: str) -> tuple[str, ...]:
        return tuple(re.findall(r"[^\W\d_](?:\w|['’](?=\w))*", text))
