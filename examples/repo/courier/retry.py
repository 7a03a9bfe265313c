"""Call again while the error is temporary, attempts are left and the deadline has not passed."""

import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


class TemporaryError(Exception):
    """Worth another attempt. `retry_after` is what the server asked for, in seconds."""

    def __init__(self, reason: str, retry_after: float | None = None):
        super().__init__(reason)
        self.retry_after = retry_after


class GaveUp(Exception):
    """No attempt succeeded; the cause is the last error."""


def call_with_retry(
    action: Callable[[], T],
    waits: Iterable[float],
    deadline: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> T:
    """Run `action` until it succeeds. Errors other than TemporaryError are raised at once.

    A server that names a time in Retry-After is obeyed, even when the backoff would be shorter.
    """
    began = clock()
    remaining = iter(waits)
    while True:
        try:
            return action()
        except TemporaryError as error:
            wait = next(remaining, None)
            if wait is None:
                raise GaveUp("no attempts left") from error
            wait = max(wait, error.retry_after or 0.0)
            if clock() - began + wait > deadline:
                raise GaveUp("the deadline has passed") from error
            sleep(wait)
