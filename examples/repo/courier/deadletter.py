"""Events that were given up, kept beside their input so that they can be sent again."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any


def dead_letter_path(events: Path) -> Path:
    """events.jsonl -> events.dead.jsonl"""
    return events.with_suffix(".dead" + events.suffix)


def bury(path: Path, event: dict[str, Any], reason: str) -> None:
    """Append one event with the reason and the time in UTC."""
    record = {"event": event, "reason": reason, "time": datetime.now(timezone.utc).isoformat()}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
