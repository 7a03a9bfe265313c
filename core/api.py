"""The Python API: texts in, arrays and spans out, with the same encoder and the same tasks as the commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from lindoc.core.errors import UsageError
from lindoc.core.keeper import Given
from lindoc.core.pipeline import Library
from lindoc.core.results import Span
from lindoc.core.store import Store
from lindoc.core.stream import Window
from lindoc.core.tasks.answer import question_ids, read_passages
from lindoc.core.tasks.embed import TextDocument, text_vectors, text_windows
from lindoc.models.encoder import Encoder, Encoding

MOST_ANSWERS = 5


class Answers(list[Span]):
    """Spans of the context, best first. `no_answer_score` in [0, 1]: how sure it is that none of them answers."""

    def __init__(self, spans: Iterable[Span], no_answer_score: float):
        super().__init__(spans)
        self.no_answer_score = no_answer_score


class Model:
    """An encoder with what it can do. Texts may have any length; nothing is truncated."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder

    @property
    def dim(self) -> int:
        """D, the length of a vector."""
        return self.encoder.dim

    def encode_query(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of queries, each read from the empty state. Returns float32 (n, D), L2-normalised."""
        return text_vectors(_texts(texts), self.encoder, carry=False)

    def encode_document(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Vectors of independent texts: within one the state is carried from window to window, and its vector is the
        token-weighted mean of its windows'. Returns float32 (n, D), L2-normalised."""
        return text_vectors(_texts(texts), self.encoder, carry=False)

    def encode_segments(self, texts: Sequence[str], carry: bool = True) -> NDArray[np.float32]:
        """Vectors of one document's segments, in order: each knows what came before it, unless `carry` is False.
        Returns float32 (n, D), L2-normalised."""
        return text_vectors(_texts(texts), self.encoder, carry=carry)

    def answer(self, question: str, context: str) -> Answers:
        """At most five spans of `context` that may answer, best first; offsets in code points, scores in [0, 1]."""
        ids = question_ids(self.encoder, question)
        whole = _joined(text_windows(context, 0, self.encoder)) if context.strip() else Encoding((), (), 0)
        (found,) = read_passages(self.encoder, ids, [whole], MOST_ANSWERS)
        spans = [Span(context[one.start : one.end], one.start, one.end, one.score) for one in found]
        return Answers(spans, 1 - max((span.score for span in spans), default=0.0))

    def summarize(self, text: str, n: int | float = 5) -> list[Span]:
        """`n` sentences of `text` (or that share of them, below 1), in order; offsets in code points."""
        document = TextDocument(text)
        with Store.open(None, encoder=self.encoder) as store:
            library = Library(self.encoder, store)
            if not text.strip() or not library.read_documents([Given(document, "-", lambda: document)]):
                return []
            return [Span(one.text, one.locator.start, one.locator.end, one.score) for one in library.summarize(n)]


def load_model(name_or_path: str = "lindoc-small", device: str | None = None) -> Model:
    """Load a model by name or from a folder. device : "cpu", "cuda", …; None takes CUDA if it is there."""
    from lindoc.models.registry import load_encoder

    return Model(load_encoder(name_or_path, device))


def _texts(texts: Sequence[str]) -> Sequence[str]:
    if isinstance(texts, str):
        raise UsageError("give a list of texts, not one text: [text]")
    return texts


def _joined(windows: Sequence[Window]) -> Encoding:
    """The tokens of consecutive windows with offsets in the whole text."""
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for window in windows:
        shift = window.segment.start
        ids.extend(window.encoding.ids)
        offsets.extend((start + shift, end + shift) for start, end in window.encoding.offsets)
    return Encoding(tuple(ids), tuple(offsets), sum(window.encoding.unknown for window in windows))
