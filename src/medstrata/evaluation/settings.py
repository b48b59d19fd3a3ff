"""What the evaluations can be told; the defaults are those of the commands."""

from dataclasses import dataclass, field
from typing import Literal

from medstrata.data.view_settings import ViewSettings, mild, require_shuffle_shards
from medstrata.metrics.defaults import NEIGHBOURS, RESAMPLES, TEMPERATURE
from medstrata.pretraining.settings import Schedule
from medstrata.runtime.errors import require, require_choices
from medstrata.runtime.precision import Precision

FinetuneProtocol = Literal["full", "frozen"]
# Which labelled validation images choose: all of them, or the same share as of the training ones.
Validation = Literal["full", "same"]

# Of feature reuse: debiased CKA takes four, and subsets are of half of the images at the most.
FEWEST_IMAGES = 8


@dataclass(frozen=True, kw_only=True)
class LabelSettings:
    """Which labels an evaluation learns from and chooses by, and how its answers are scored.

    Attributes:
        seed: Decides the weights of `scratch`, and of fine-tuning the order and the views.
        subset_seed: Decides which labels a fraction holds; keep it equal over arms.
        validation: Labels to choose by: `full` takes all of the validation split whatever the
            fraction, `same` the same share as of training, so that the fraction counts every label.
        metric: What chooses by validation and heads the report: one of the metrics, or
            the import path of a function of your own, `package.module:function`; by default that
            of the kind of task. See `metrics/metric.py:find_metric`.
        resamples: Resamples of the patients behind each interval.
    """

    seed: int = 0
    subset_seed: int = 0
    validation: Validation = "full"
    metric: str | None = None
    resamples: int = RESAMPLES

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.resamples >= 1, self, "resamples", "1 or more")
        for name in ("seed", "subset_seed"):
            require(getattr(self, name) >= 0, self, name, "0 or more")


@dataclass(frozen=True, kw_only=True)
class FinetuneSettings(LabelSettings):
    """How a classifier is trained on a fraction of the labels; the same for every arm.

    Labels and scores are those of `LabelSettings`.

    Attributes:
        protocol: `full` trains every weight; `frozen` trains a linear layer on the features of
            the encoder in evaluation mode.
        layer: What the frozen protocol reads: `pooled`, a stage such as `stage3`, `all` stages side
            by side, or `best`, which lets validation choose among these.
        head: What the head of the full protocol starts from: the frozen protocol's own layer on
            the pooled features, or zero. The read-out is a candidate too: it is what is tested
            where no training of the network validates better.
        epochs: Validations of a learning rate at the most.
        patience: Validations without a better one that end a learning rate; 0 never does.
        min_steps: Steps between validations are those of one pass, but no fewer than this, so
            that 1 % of the labels is not trained for a handful of steps.
        batch_size: Images a step.
        lr: Learning rate, or several: the network is trained with each from the same start, and
            validation chooses.
        optimizer: Of the full protocol.
        weight_decay: L2 penalty of Adam, decoupled decay of AdamW.
        layer_decay: Factor of the learning rate from a layer to the one below it; below 1, lower
            layers change less. AdamW only.
        schedule: Of the learning rate.
        keep_statistics_below: Labelled training images below which BatchNorm of an encoder that
            was trained keeps its statistics; 0 never, random encoders never.
        class_weights: `balanced` gives every class the same part in the loss.
        shuffle_shards: As in pre-training.
        precision: `auto` is bf16 where the hardware has it, else fp32.
        legacy: Write also the figures of the paper's published code, to compare with: the score of
            the last epoch, and an interval that is far too narrow.
        wrong_images: How many of the test images that it is most wrong about are shown in
            wrong_images.png, one a patient, without any name; 0 shows none.
        saliency: Show beneath them what in them argued for the wrong answer (integrated gradients,
            by captum).
        views: How training images are varied; `size`, if not 0, is the side of the encoder's input.
    """

    protocol: FinetuneProtocol = "full"
    layer: str = "best"
    head: Literal["read-out", "zero"] = "read-out"
    epochs: int = 20
    patience: int = 0
    min_steps: int = 10
    batch_size: int = 32
    lr: float | tuple[float, ...] = (1e-4, 1e-3)
    optimizer: Literal["adam", "adamw"] = "adam"
    weight_decay: float = 0.0
    layer_decay: float = 1.0
    schedule: Schedule = "cosine"
    keep_statistics_below: int = 500
    class_weights: Literal["equal", "balanced"] = "equal"
    shuffle_shards: int | None = None
    precision: Precision = "auto"
    legacy: bool = False
    wrong_images: int = 8
    saliency: bool = False
    views: ViewSettings = field(default_factory=lambda: mild(0))

    @property
    def image_size(self) -> int:
        """Side of the input in pixels; 0 takes the encoder's own, or the store's."""
        return self.views.size

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """`lr` as several, if it is one."""
        return (self.lr,) if isinstance(self.lr, float | int) else tuple(self.lr)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("epochs", "min_steps", "batch_size"):
            require(getattr(self, name) >= 1, self, name, "1 or more")
        rates = self.learning_rates
        require(
            bool(rates) and min(rates) > 0 and len(set(rates)) == len(rates),
            self,
            "lr",
            "one learning rate or more, each above 0 and named once",
        )
        for name in ("weight_decay", "patience", "keep_statistics_below", "wrong_images"):
            require(getattr(self, name) >= 0, self, name, "0 or more")
        require(0 < self.layer_decay <= 1, self, "layer_decay", "above 0 up to 1")
        if self.optimizer == "adam":
            require(self.layer_decay == 1, self, "layer_decay", "1 with adam; take adamw")
        require_shuffle_shards(self.shuffle_shards, self)


@dataclass(frozen=True, kw_only=True)
class ProbeSettings(LabelSettings):
    """How the stages of a frozen encoder are read out; the same for every arm.

    Labels and scores are those of `LabelSettings`.

    Attributes:
        image_size: Side of the input in pixels; 0 takes the encoder's own, or the store's.
        neighbours: Nearest labelled images that vote on an image.
        temperature: A vote weighs exp(cosine / temperature).
    """

    image_size: int = 0
    neighbours: int = NEIGHBOURS
    temperature: float = TEMPERATURE

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.neighbours >= 1, self, "neighbours", "1 or more")
        require(self.image_size >= 0, self, "image_size", "0 or more")
        require(self.temperature > 0, self, "temperature", "above 0")


@dataclass(frozen=True, kw_only=True)
class AtlasSettings:
    """What an atlas of features shows; the same for every arm.

    Attributes:
        images: Most images on the map, drawn at random.
        queries: Images whose neighbours are shown, drawn from each class in turn.
        neighbours: Nearest images of each image, by cosine of the pooled features.
        seed: Decides the weights of `scratch`, the queries and the images on the map.
        image_size: Side of the input in pixels; 0 takes the encoder's own, or the store's.
    """

    images: int = 2000
    queries: int = 8
    neighbours: int = 5
    seed: int = 0
    image_size: int = 0

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("images", "queries", "neighbours"):
            require(getattr(self, name) >= 1, self, name, "1 or more")
        for name in ("seed", "image_size"):
            require(getattr(self, name) >= 0, self, name, "0 or more")


@dataclass(frozen=True, kw_only=True)
class ReuseSettings:
    """How an encoder is compared before and after fine-tuning; the same for every arm.

    Attributes:
        subsets: Random subsets of the images behind each mean, deviation and null.
        subset_size: Images a subset, but no more than half of them.
        max_images: Labelled test images that are compared; more are left to chance.
        seed: Decides images, subsets, mismatches and the untrained network.
        legacy: Also compute the similarity with the authors' absolute bandwidth.
    """

    subsets: int = 50
    subset_size: int = 1000
    max_images: int = 10_000
    seed: int = 0
    legacy: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.seed >= 0, self, "seed", "0 or more")
        require(self.subsets >= 2, self, "subsets", "2 or more")
        require(self.subset_size >= 4, self, "subset_size", "4 or more")
        require(self.max_images >= FEWEST_IMAGES, self, "max_images", f"{FEWEST_IMAGES} or more")
