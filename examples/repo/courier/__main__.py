"""Deliver every event of a JSON-lines file."""

import argparse
import json
import sys
import urllib.error
from pathlib import Path

from courier.client import deliver
from courier.config import load_config
from courier.deadletter import bury, dead_letter_path
from courier.retry import GaveUp


def main() -> int:
    parser = argparse.ArgumentParser(prog="courier", description=__doc__)
    parser.add_argument("events", type=Path)
    parser.add_argument("--config", type=Path, default=Path("courier.toml"))
    options = parser.parse_args()
    config = load_config(options.config)
    lost = 0
    for line in options.events.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        try:
            deliver(event, config)
        except (GaveUp, urllib.error.HTTPError) as error:
            bury(dead_letter_path(options.events), event, str(error))
            lost += 1
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
