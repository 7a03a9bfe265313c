"""tokenizers.Tokenizer behind the protocol of models/encoder.py: ids without specials, offsets, unknown count."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer as FastTokenizer

from lindoc.core.errors import ModelError
from lindoc.models.encoder import Encoding


class WordPieceTokenizer:
    """A tokenizer.json with [CLS], [SEP] and [UNK]; truncation and padding that the file may ask for are cleared."""

    def __init__(self, path: Path):
        try:
            data = path.read_bytes()
            self.fast = FastTokenizer.from_buffer(data)
        except Exception as exc:  # the tokenizers library raises bare Exception
            raise ModelError(f"{path}: not a tokenizer: {exc}") from exc
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.fast.no_truncation()
        self.fast.no_padding()
        ids: dict[str, int | None] = {token: self.fast.token_to_id(token) for token in ("[CLS]", "[SEP]", "[UNK]")}
        missing = [token for token, i in ids.items() if i is None]
        if missing:
            raise ModelError(f"{path}: tokenizer lacks {', '.join(missing)}")
        self.cls, self.sep, self.unk = (i for i in ids.values() if i is not None)

    def encode(self, texts: Sequence[str]) -> list[Encoding]:
        """Encode each text; offsets are code points into it."""
        encodings = self.fast.encode_batch(list(texts), add_special_tokens=False)
        return [Encoding(tuple(e.ids), tuple(e.offsets), e.ids.count(self.unk)) for e in encodings]
