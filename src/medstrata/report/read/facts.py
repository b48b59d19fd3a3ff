"""Facts that runs of every kind hold, and how they are read from a result."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something a reader must know: a gap, a broken file, a reason for care."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """One part of a store."""

    images: int
    patients: int
    labelled: int


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """The images a run was made on; `size` is the side in pixels, `digest` tells contents apart."""

    name: str
    images: int
    size: int
    channels: int
    patients: int | None = None
    splits: Mapping[str, Split] = field(default_factory=dict)
    digest: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What was predicted."""

    name: str
    kind: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A test score with its 95 % interval over patients, None where none was recorded."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What every run folder holds besides its result; `audit` is None where there is none."""

    name: str
    folder: Path
    settings: str
    environment: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]
    audit: Mapping[str, Any] | None = None


class Origin(TypedDict):
    """What every run on a task of a store tells of itself."""

    files: RunFiles
    arm: str
    backbone: str
    store: StoreFacts
    task: TaskFacts
    seed: int


def read_number(value: Any) -> float:
    """A finite number, or ValueError."""
    found = float(value)
    if not math.isfinite(found):
        raise ValueError(f"{value} is not a finite number")
    return found


def read_store(facts: Mapping[str, Any], digest: str | None = None) -> StoreFacts:
    """The store as a result names it."""
    patients = facts.get("patients")
    return StoreFacts(
        name=str(facts["name"]),
        images=int(facts["images"]),
        size=int(facts["size"]),
        channels=int(facts["channels"]),
        patients=None if patients is None else int(patients),
        splits={
            str(name): Split(
                images=int(part["images"]),
                patients=int(part["patients"]),
                labelled=int(part["labelled"]),
            )
            for name, part in facts.get("splits", {}).items()
        },
        digest=digest,
    )


def read_score(entry: Mapping[str, Any]) -> Score:
    """A value with or without the ends of its interval."""
    low, high = entry.get("low"), entry.get("high")
    interval = None if low is None or high is None else (read_number(low), read_number(high))
    return Score(value=read_number(entry["value"]), interval=interval)


def read_task(facts: Mapping[str, Any]) -> TaskFacts:
    """The task as a result names it."""
    return TaskFacts(
        name=str(facts["name"]), kind=str(facts["kind"]), classes=tuple(map(str, facts["classes"]))
    )


def read_origin(result: Mapping[str, Any], files: RunFiles) -> Origin:
    """Which encoder a result is about, on what, from which seed."""
    return {
        "files": files,
        "arm": str(result["arm"]),
        "backbone": str(result["backbone"]),
        "store": read_store(result["store"], result.get("store_digest")),
        "task": read_task(result["task"]),
        "seed": int(result["seed"]),
    }


def read_fraction(value: Any) -> float:
    """A share of the labels, or ValueError."""
    share = read_number(value)
    if not 0 < share <= 1:
        raise ValueError(f"fraction {share} is not above 0 and at most 1")
    return share
