"""One HTTP request per event; the answer decides whether a retry makes sense."""

import json
import urllib.error
import urllib.request
from typing import Any

from courier.backoff import delays
from courier.config import Config
from courier.retry import TemporaryError, call_with_retry

TEMPORARY = {408, 425, 429, 500, 502, 503, 504}  # HTTP status codes that are worth another attempt


def post(url: str, event: dict[str, Any], timeout: float) -> int:
    """Send one event as JSON and return the status code. Raises TemporaryError if it may work later."""
    body = json.dumps(event).encode()
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        if error.code not in TEMPORARY:
            raise
        asked = error.headers.get("Retry-After", "")
        raise TemporaryError(f"status {error.code}", float(asked) if asked.isdigit() else None) from error
    except (urllib.error.URLError, TimeoutError) as error:
        raise TemporaryError(str(error)) from error


def deliver(event: dict[str, Any], config: Config) -> int:
    """Send one event, retrying as the configuration says. Raises GaveUp."""
    retry = config.retry
    waits = delays(retry.base, retry.cap, retry.attempts)
    return call_with_retry(lambda: post(config.url, event, config.timeout), waits, retry.deadline)
