"""What is known of a data set."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Dataset:
    name: str
    splits: tuple[str, ...]
    labels: dict[str, tuple[str, ...]]
    ordinal: tuple[str, ...]
    uncertain: str | None
    index: Callable[[Any], Any]
