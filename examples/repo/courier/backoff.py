"""How long to wait between attempts: exponential backoff with full jitter."""

import random
from collections.abc import Iterator


def delays(base: float, cap: float, attempts: int, rng: random.Random | None = None) -> Iterator[float]:
    """Seconds to wait before attempt 2, 3, ... up to `attempts`.

    The ceiling doubles each time and never exceeds `cap`. The wait itself is drawn evenly between zero and the
    ceiling, so that many clients that failed together do not come back together.
    """
    rng = rng or random.Random()
    for attempt in range(attempts - 1):
        yield rng.uniform(0.0, min(cap, base * 2**attempt))
