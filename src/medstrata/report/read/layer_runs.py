"""Runs that look into an encoder's layers -> typed facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medstrata.report.read.facts import (
    RunFiles,
    Score,
    StoreFacts,
    TaskFacts,
    read_fraction,
    read_number,
    read_origin,
    read_score,
)

READ_OUTS = {"linear": "Linear layer", "knn": "Nearest neighbours"}

# None stands for what is not defined.
Matrix = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A frozen encoder read out at every stage; `stages` maps stage -> read-out -> test score."""

    files: RunFiles
    arm: str
    backbone: str
    store: StoreFacts
    task: TaskFacts
    fraction: float
    seed: int
    metric: str
    subset_images: int
    test_images: int
    test_patients: int
    stages: Mapping[str, Mapping[str, Score]]


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How alike the features of one stage are before and after fine-tuning, by one measure.

    None stands for what is not defined.

    Attributes:
        value: On all images.
        subset_mean: Over random subsets of the images.
        subset_sd: Over the same.
        null: Mean and 97.5th percentile over subsets whose images are paired with those of other
            patients.
        random: Between the tuned network and an untrained one.
    """

    value: float
    subset_mean: float | None
    subset_sd: float | None
    null: tuple[float, float] | None
    random: float | None


@dataclass(frozen=True, kw_only=True)
class Heatmaps:
    """One measure between all pairs of stages; rows are the network named first."""

    measure: str
    before_after: Matrix
    before: Matrix
    after: Matrix


@dataclass(frozen=True, kw_only=True)
class Reuse:
    """An encoder compared with itself after fine-tuning; `cka` maps measure -> stage."""

    files: RunFiles
    arm: str
    backbone: str
    store: StoreFacts
    task: TaskFacts
    fraction: float
    seed: int
    images: int
    subsets: int
    subset_size: int
    stages: tuple[str, ...]
    cka: Mapping[str, Mapping[str, Similarity]]
    heatmaps: Heatmaps | None
    legacy: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """How many directions the features of a stage use, of how many there are."""

    effective_rank: float
    rankme: float
    feature_norm: float
    spread: float
    dimensions: int
    images: int


@dataclass(frozen=True, kw_only=True)
class Query:
    """One image and its nearest: for each, whether it has the same label and the same patient."""

    same_label: tuple[bool | None, ...]
    same_patient: tuple[bool | None, ...]


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """What the pooled features of an encoder look like.

    Attributes:
        agreement: Share of the `k` nearest that have the same `label`, the same `patient`, and, of
            the nearest of other patients, the same label (`label_other_patients`); under the name
            with `_chance` what neighbours drawn at random have.
    """

    files: RunFiles
    arm: str
    backbone: str
    store: StoreFacts
    task: TaskFacts
    seed: int
    images: int
    spectrum: Mapping[str, Spectrum]
    k: int
    agreement: Mapping[str, float]
    queries: tuple[Query, ...]
    method: str


def read_probe(result: Mapping[str, Any], files: RunFiles) -> Probe:
    """The result of a run of kind `probe`."""
    test = result["test"]
    return Probe(
        **read_origin(result, files),
        fraction=read_fraction(result["fraction"]),
        metric=str(result["metric"]),
        subset_images=int(result["subset"]["images"]),
        test_images=int(test["images"]),
        test_patients=int(test["patients"]),
        stages={str(stage): _read_outs(one) for stage, one in test["stages"].items()},
    )


def _read_outs(stage: Mapping[str, Any]) -> dict[str, Score]:
    # An undefined score is written as null; it is no score.
    return {str(name): read_score(one) for name, one in stage.items() if one["value"] is not None}


def read_reuse(result: Mapping[str, Any], files: RunFiles) -> Reuse:
    """The result of a run of kind `reuse`."""
    stages = tuple(str(stage) for stage in result["stages"])
    return Reuse(
        **read_origin(result, files),
        fraction=read_fraction(result["fraction"]),
        images=int(result["images"]),
        subsets=int(result["subsets"]["count"]),
        subset_size=int(result["subsets"]["size"]),
        stages=stages,
        cka={
            str(measure): {
                str(stage): _similarity(one)
                for stage, one in by_stage.items()
                if one["value"] is not None
            }
            for measure, by_stage in result["cka"].items()
        },
        heatmaps=_heatmaps(result["heatmap"], len(stages)) if result.get("heatmap") else None,
        legacy={
            str(stage): read_number(one) for stage, one in (result.get("legacy") or {}).items()
        },
    )


def _similarity(entry: Mapping[str, Any]) -> Similarity:
    mean, high = _perhaps(entry["null"]["mean"]), _perhaps(entry["null"]["high"])
    return Similarity(
        value=read_number(entry["value"]),
        subset_mean=_perhaps(entry["subset_mean"]),
        subset_sd=_perhaps(entry["subset_sd"]),
        null=None if mean is None or high is None else (mean, high),
        random=_perhaps(entry["random"]),
    )


def _perhaps(value: Any) -> float | None:
    return None if value is None else read_number(value)


def _heatmaps(entry: Mapping[str, Any], side: int) -> Heatmaps:
    return Heatmaps(
        measure=str(entry["measure"]),
        before_after=_matrix(entry["before_after"], side),
        before=_matrix(entry["before"], side),
        after=_matrix(entry["after"], side),
    )


def _matrix(rows: Sequence[Sequence[Any]], side: int) -> Matrix:
    matrix = tuple(tuple(_perhaps(one) for one in row) for row in rows)
    if len(matrix) != side or any(len(row) != side for row in matrix):
        raise ValueError(f"a heat map is not of {side} x {side} stages")
    return matrix


def read_atlas(result: Mapping[str, Any], files: RunFiles) -> Atlas:
    """The result of a run of kind `atlas`."""
    neighbours = result["neighbours"]
    return Atlas(
        **read_origin(result, files),
        images=int(result["images"]),
        spectrum={str(stage): _spectrum(one) for stage, one in result["spectrum"].items()},
        k=int(neighbours["k"]),
        agreement={
            str(name): read_number(one)
            for name, one in neighbours["agreement"].items()
            if one is not None
        },
        queries=tuple(_query(one) for one in neighbours["queries"]),
        method=str(result["map"]["method"]),
    )


def _spectrum(entry: Mapping[str, Any]) -> Spectrum:
    return Spectrum(
        effective_rank=read_number(entry["effective_rank"]),
        rankme=read_number(entry["rankme"]),
        feature_norm=read_number(entry["feature_norm"]),
        spread=read_number(entry["spread"]),
        dimensions=int(entry["dimensions"]),
        images=int(entry["images"]),
    )


def _query(entry: Mapping[str, Any]) -> Query:
    found = entry["neighbours"]
    return Query(
        same_label=tuple(one["same_label"] for one in found),
        same_patient=tuple(one["same_patient"] for one in found),
    )
