"""What finished runs found, a class for each kind; the fields are named as in result.json."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from medstrata.report.read.facts import EvaluationRun, Run, Score
from medstrata.report.render.formatting import patients_named, span
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.kinds import RunKind

TUNED = "probability"  # how the names of a fine-tuned classifier's columns begin
READ_OUTS = {"linear": "Linear layer", "knn": "Nearest neighbours"}

# None stands for what is not defined.
Matrix = tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Pretrain(Run):
    """A finished pre-training run; `parameters` counts the weights of its encoder."""

    recipe: str
    parameters: int
    images: int
    epochs: int
    steps: int
    seconds: float
    device: str


@dataclass(frozen=True, kw_only=True)
class Subset:
    """The labelled images a classifier was given."""

    images: int
    patients: int
    unknown_patients: int = 0
    per_class: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class LabelCount:
    """How many labelled images, of how many patients."""

    images: int
    patients: int
    unknown_patients: int = 0


@dataclass(frozen=True, kw_only=True)
class HeldOutScores:
    """On what a classifier was tested, and what it scored by each metric."""

    images: int
    patients: int
    unknown_patients: int = 0
    scores: Mapping[str, Score]


@dataclass(frozen=True, kw_only=True)
class Finetune(EvaluationRun):
    """A finished fine-tuning run.

    `labels` counts those used to `train`, to choose by (`val`) and in `all`; empty in old runs.
    `legacy` holds figures as the paper's code computes them, empty unless the run was asked for
    them; `chosen` what validation chose, by the names it has in the records of the run, and
    `best_validation` its number there; `thresholds` where classes begin; `saliency` whether its
    sheet of wrong images has it; `encoder_digest` tells the encoder it began with from others,
    `subset_seed` the draw of its labels.
    """

    protocol: str = field()
    encoder: EncoderSpec
    subset: Subset
    labels: Mapping[str, LabelCount] = field(default_factory=dict)
    metric: str
    test: HeldOutScores
    seconds: float
    device: str
    encoder_digest: str | None = None
    subset_seed: int | None = None
    legacy: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)
    best_validation: int | None = None
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    saliency: bool = False

    def threshold(self, name: str) -> float:
        """From which probability a class is called; 0.5 in runs that chose none."""
        point = self.thresholds.get("values", {}).get(name, {})
        return float(point.get("threshold", 0.5))

    @property
    def cell(self) -> tuple[object, ...]:
        """Its seed, its draw of the labels and its encoder."""
        return self.seed, self.subset_seed, self.encoder_digest

    @property
    def origin(self) -> object:
        """What it rests on besides its labels; equal for runs that had the same luck in it.

        That is one pre-training, or one set of random weights. ImageNet's weights are one encoder,
        which is taken as it is: its runs differ by the seed of fine-tuning.
        """
        if self.encoder.kind == "imagenet":
            return self.seed
        by_name = (str(self.encoder), self.seed if self.encoder.kind == "scratch" else None)
        return self.encoder_digest or by_name

    @property
    def is_fixed(self) -> bool:
        """Whether it leaves nothing to chance but its labels: a frozen encoder of ImageNet."""
        return self.encoder.kind == "imagenet" and self.protocol.startswith("frozen")

    @property
    def start(self) -> str:
        """What kind of encoder it began with: `scratch`, `imagenet` or the arm's own name."""
        return self.arm if self.encoder.kind == "path" else self.encoder.kind

    @cached_property
    def labelled(self) -> object:
        """Which images were labelled; equal for runs that were given the same."""
        path = self.files.folder / "subset.csv"
        if path.is_file():
            return hashlib.sha256(b"\n".join(sorted(path.read_bytes().split()))).hexdigest()
        # A run without its list of images still tells how many there were.
        counts = sorted(self.subset.per_class.items())
        return (self.subset.images, self.subset.patients, *counts)

    @property
    def tested(self) -> tuple[object, ...]:
        """On how many images of how many patients."""
        return self.test.images, self.test.patients

    @property
    def read_outs(self) -> Mapping[str, Mapping[str, Score]]:
        """The one classifier."""
        return {TUNED: self.test.scores}


def labels_used(runs: Iterable[Finetune]) -> str:
    """In words: images and patients that were trained on and, where known, images chosen by."""
    runs = list(runs)
    images = span(run.subset.images for run in runs)
    patients = [run.subset.patients for run in runs]
    unknown = max(run.subset.unknown_patients for run in runs)
    whose = patients_named(max(patients), unknown, span(patients))
    choosing = [run.labels["val"].images for run in runs if "val" in run.labels]
    chosen = f" for training, {span(choosing)} images for choosing" if choosing else ""
    return f"{images} images of {whose}{chosen}"


@dataclass(frozen=True, kw_only=True)
class ProbeTested:
    """On what read-outs were tested; `stages` maps stage -> read-out -> score."""

    images: int
    patients: int
    unknown_patients: int = 0
    stages: Mapping[str, Mapping[str, Score]]


@dataclass(frozen=True, kw_only=True)
class Probe(EvaluationRun):
    """A frozen encoder read out at every stage."""

    metric: str
    subset: Subset
    test: ProbeTested

    @property
    def tested(self) -> tuple[object, ...]:
        """By which metric, on how many images of how many patients."""
        return self.metric, self.test.images, self.test.patients

    @cached_property
    def read_outs(self) -> Mapping[str, Mapping[str, Score]]:
        """`<stage>.<read-out>` -> its score."""
        return {
            f"{stage}.{name}": {self.metric: score}
            for stage, scores in self.test.stages.items()
            for name, score in scores.items()
        }


@dataclass(frozen=True, kw_only=True)
class Chance:
    """Similarity of images paired with those of other patients: mean, 97.5th percentile."""

    mean: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """How alike the features of one stage are before and after fine-tuning, by one measure.

    None stands for what is not defined.

    Attributes:
        value: On all images.
        subset_mean: Over random subsets of the images.
        subset_sd: Over the same.
        null: Over the same.
        random: Between the tuned network and an untrained one.
    """

    value: float
    subset_mean: float | None
    subset_sd: float | None
    null: Chance
    random: float | None

    @property
    def chance(self) -> tuple[float, float] | None:
        """Mean and 97.5th percentile of chance, where both are defined."""
        mean, high = self.null.mean, self.null.high
        return None if mean is None or high is None else (mean, high)


@dataclass(frozen=True, kw_only=True)
class Heatmap:
    """One measure between all pairs of stages; rows are the network named first."""

    measure: str
    before_after: Matrix
    before: Matrix
    after: Matrix


@dataclass(frozen=True, kw_only=True)
class Subsets:
    """The random subsets of the images."""

    count: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Reuse(EvaluationRun):
    """An encoder compared with itself after fine-tuning; `cka` maps measure -> stage."""

    images: int
    subsets: Subsets
    stages: tuple[str, ...]
    cka: Mapping[str, Mapping[str, Similarity]]
    heatmap: Heatmap | None = None
    legacy: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        side = len(self.stages)
        if self.heatmap is not None:
            for matrix in (self.heatmap.before_after, self.heatmap.before, self.heatmap.after):
                if len(matrix) != side or any(len(row) != side for row in matrix):
                    raise ValueError(f"a heat map is not of {side} x {side} stages")


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
class AtlasNeighbour:
    """What an image shares with the one it is near to; None where that is not known."""

    same_label: bool | None
    same_patient: bool | None


@dataclass(frozen=True, kw_only=True)
class AtlasQuery:
    """One image and its nearest."""

    neighbours: tuple[AtlasNeighbour, ...]


@dataclass(frozen=True, kw_only=True)
class Neighbours:
    """Which images lie near each other.

    Attributes:
        agreement: Share of the `k` nearest that have the same `label`, the same `patient`, and, of
            the nearest of other patients, the same label (`label_other_patients`); under the name
            with `_chance` what neighbours drawn at random have.
    """

    k: int
    agreement: Mapping[str, float]
    queries: tuple[AtlasQuery, ...]


@dataclass(frozen=True, kw_only=True)
class MapFacts:
    """How a map was made."""

    method: str


@dataclass(frozen=True, kw_only=True)
class Atlas(EvaluationRun):
    """What the pooled features of an encoder look like; no label was used."""

    fraction: float = 1.0
    images: int
    spectrum: Mapping[str, Spectrum]
    neighbours: Neighbours
    map: MapFacts


# Of all kinds but `import`, which found nothing.
KINDS: Mapping[RunKind, type[Run]] = {
    "pretrain": Pretrain,
    "finetune": Finetune,
    "probe": Probe,
    "reuse": Reuse,
    "atlas": Atlas,
}
