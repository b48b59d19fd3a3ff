"""Facts that runs of every kind hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ReportNote:
    """Something a reader must know: a gap, a broken file, a reason for care."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Split:
    """One part of a store; `patients` are the known ones."""

    images: int
    patients: int
    unknown_patients: int = 0
    labelled: int


@dataclass(frozen=True, kw_only=True)
class StoreFacts:
    """The images a run was made on; `size` is the side in pixels."""

    name: str
    images: int
    size: int
    channels: int
    patients: int | None = None
    unknown_patients: int = 0
    splits: Mapping[str, Split] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskFacts:
    """What was predicted."""

    name: str
    kind: str
    classes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A test score with the ends of its 95 % interval over patients, where one was recorded."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends."""
        return None if self.low is None or self.high is None else (self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What every run folder holds besides its result; `audit` is None where there is none."""

    name: str
    folder: Path
    settings: str
    environment: Mapping[str, Any]
    epochs: tuple[Mapping[str, Any], ...]
    audit: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every run tells of itself; `label` is the arm's name as it is shown."""

    files: RunFiles
    arm: str
    backbone: str
    store: StoreFacts
    seed: int
    label: str


@dataclass(frozen=True, kw_only=True)
class EvaluationRun(Run):
    """What every run on a task tells of itself: `fraction` is the share of the labels it used."""

    task: TaskFacts
    store_digest: str | None = None
    fraction: float
    protocol: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction {self.fraction} is not above 0 and at most 1")

    @property
    def cell(self) -> tuple[object, ...]:
        """What tells it from other runs of its arm on the same share of the labels."""
        return (self.seed,)

    @property
    def tested(self) -> tuple[object, ...]:
        """How it was judged; only runs judged alike can be compared."""
        return ()

    @property
    def read_outs(self) -> Mapping[str, Mapping[str, Score]]:
        """What its classifiers score by each metric, by how their columns of probability begin."""
        return {}

    def score(self, metric: str, read_out: str) -> Score | None:
        """What a classifier scores; None where it has no such score."""
        return self.read_outs.get(read_out, {}).get(metric)
