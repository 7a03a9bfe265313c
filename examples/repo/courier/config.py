"""courier.toml to a Config."""

from dataclasses import dataclass
from pathlib import Path

import tomllib


@dataclass(frozen=True)
class RetryConfig:
    attempts: int = 5
    base: float = 0.5  # seconds
    cap: float = 20.0  # seconds
    deadline: float = 60.0  # seconds


@dataclass(frozen=True)
class Config:
    url: str
    timeout: float = 10.0  # seconds
    retry: RetryConfig = RetryConfig()


def load_config(path: Path) -> Config:
    """Read a configuration; unknown keys are an error, so that a misspelt one is noticed."""
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    retry = RetryConfig(**values.pop("retry", {}))
    return Config(retry=retry, **values)
