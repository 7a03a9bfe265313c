"""The exception tree and the exit code of each branch.

LindocError                   70  internal
├── UsageError                 2  wrong options or arguments
├── DocumentError              3  an input that cannot be read: names it, the reason, the choices
├── ModelError                 4  model or data missing, unknown, or of the wrong hash
├── StoreError                 5  index damaged, locked, or of another version
└── KernelError               70  a backend that cannot do what was asked
"""

from __future__ import annotations


class LindocError(Exception):
    """Base of every error lindoc raises on purpose; the message is one line for the user."""

    exit_code = 70
    code = "internal"


class UsageError(LindocError):
    exit_code = 2
    code = "usage"


class DocumentError(LindocError):
    """An input that cannot be read. `path` is the input as the user gave it."""

    exit_code = 3
    code = "unreadable"

    def __init__(self, path: str, reason: str):
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class ModelError(LindocError):
    exit_code = 4
    code = "model"


class StoreError(LindocError):
    exit_code = 5
    code = "store"


class KernelError(LindocError):
    code = "kernel"
