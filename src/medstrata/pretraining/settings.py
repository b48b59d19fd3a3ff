"""The settings of a run, typed and checked, without a heavy import so that `--help` is quick.

A run's `config.yaml` is these settings written out; it is accepted wherever a recipe is.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from medstrata.data.view_settings import (
    Modality,
    ViewSettings,
    require_shuffle_shards,
    views_for_modality,
)
from medstrata.models.stages import STAGES
from medstrata.runtime.errors import require, require_choices
from medstrata.runtime.precision import Precision

# Of a remote store, shards that are mixed at a time if nothing is said.
REMOTE_SHUFFLE_SHARDS = 8
# Length of a run that names neither epochs nor steps.
STEPS = 4000
LossName = Literal["none", "mse", "barlow_twins", "centered_cosine"]
Schedule = Literal["cosine", "constant"]


@dataclass(frozen=True, kw_only=True)
class ContrastiveSettings:
    """Momentum contrast: head, queue and the key encoder.

    Attributes:
        head_size: Size of the projections that are contrasted.
        hidden_layers: Hidden layers of the head: 0 is MoCo v1's linear head, 1 is v2's MLP.
        temperature: Divides the cosine similarities (v1 0.07, v2 0.2).
        momentum: Share of itself that the key encoder keeps at each step; none is 1 - 80 / steps,
            at least 0.99 (8,000 steps and fewer) and at most 0.999 (80,000 and more).
        queue_size: Old keys that serve as negatives, any number; none is 4,096, or as many whole
            batches as the images hold less one.
        cap_queue: Let a queue that is named hold at most as many keys as there are images, less a
            batch.
        mask_own_keys: Leave an image's own old keys out of its negatives.
        key_part_size: BatchNorm of the key encoder sees the batch shuffled and in parts of this
            many images, at least two parts, so that batch statistics cannot give the positive
            away; 0 is off.
    """

    head_size: int = 128
    hidden_layers: Literal[0, 1] = 1
    temperature: float = 0.2
    momentum: float | None = None
    queue_size: int | None = None
    cap_queue: bool = True
    mask_own_keys: bool = True
    key_part_size: int = 64

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.head_size >= 1, self, "head_size", "1 or more")
        require(self.temperature > 0, self, "temperature", "above 0")
        momentum, queue = self.momentum, self.queue_size
        require(momentum is None or 0 <= momentum <= 1, self, "momentum", "between 0 and 1")
        require(queue is None or queue >= 1, self, "queue_size", "1 or more")
        require(self.key_part_size >= 0, self, "key_part_size", "0 or more")


@dataclass(frozen=True, kw_only=True)
class IntermediateSettings:
    """The loss on intermediate stages. An ablation is another set of weights.

    Attributes:
        loss: Which loss; `none` is plain MoCo. One of another package is named by its import path,
            `package.module:Name`.
        weights: Stage -> weight in the total loss; a stage left out carries none.
        grids: For mse, stage -> positions a side kept by average pooling; 1 pools globally.
        projector_size: For barlow_twins, width of the projector.
        on_weight: For barlow_twins, weight of the diagonal term; none is 1 / projector_size, with
            which the loss of a stage starts near 1 whatever the width.
        off_weight: For barlow_twins, weight of the off-diagonal term; none is
            0.0051 / projector_size.
        options: What the loss is built with beside the settings above, by name.
    """

    loss: LossName | str = "none"
    weights: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.25))
    grids: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STAGES, 1))
    projector_size: int = 2048
    on_weight: float | None = None
    off_weight: float | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choices(self)
        names, foreign = get_args(LossName), ":" in self.loss
        require(
            foreign or self.loss in names,
            self,
            "loss",
            f"{', '.join(names)} or package.module:Name",
        )
        require(self.loss != "none" or not self.options, self, "options", "empty without a loss")
        for name in ("weights", "grids"):
            keys = getattr(self, name).keys()
            require(keys <= set(STAGES), self, name, f"a mapping from {', '.join(STAGES)}")
        weights = self.weights.values()
        require(all(weight >= 0 for weight in weights), self, "weights", "0 or more at each stage")
        for name in ("on_weight", "off_weight"):
            value = getattr(self, name)
            require(value is None or value >= 0, self, name, "0 or more")
        require(self.projector_size >= 2, self, "projector_size", "2 or more")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings:
    """SGD and its learning-rate schedule.

    Attributes:
        lr: Learning rate, for `lr_batch` images an update.
        lr_batch: The rate used is lr x batch size / this; 0 uses lr as it stands.
        sgd_momentum: Momentum of SGD.
        weight_decay: L2 penalty on every parameter.
        schedule: `cosine` falls to 0 at the last step; `constant` stays.
        warmup_steps: Steps over which the rate rises linearly from 0; none is an epoch, at most
            5 % of the steps.
    """

    lr: float = 0.12
    lr_batch: int = 256
    sgd_momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    warmup_steps: int | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.lr > 0, self, "lr", "above 0")
        require(self.lr_batch >= 0, self, "lr_batch", "0 or more")
        require(0 <= self.sgd_momentum < 1, self, "sgd_momentum", "0 or more and below 1")
        require(self.weight_decay >= 0, self, "weight_decay", "0 or more")
        warmup = self.warmup_steps
        require(warmup is None or warmup >= 0, self, "warmup_steps", "0 or more")


@dataclass(frozen=True, kw_only=True)
class PretrainSettings:
    """Everything that decides a pre-training run, except the images.

    Attributes:
        recipe: Name of the recipe these settings began as.
        modality: What the images are, which a recipe takes its views from; none if that is open.
        backbone: Name of a timm model.
        weights: Start: none (random), a run folder, a weights file, `imagenet`, or
            `imagenet=FILE` for such weights in a local file.
        in_channels: 1 or 3; 0 takes the store's.
        zero_init_residual: Start residual blocks as the identity, where the model can.
        normalize: Input normalisation: none (values 0..1), by the store's mean and deviation, or
            by ImageNet's.
        images: Which part is trained on: `train` keeps validation and test patients unseen.
        skip_near_copies: Of images that are equal or nearly so, as the audit finds them, train on
            one.
        epochs: Passes over the images; none leaves the length to `steps`.
        steps: Steps, instead of epochs; none of both is 4,000.
        batch_size: Images a step, over all processes.
        accumulate: Steps whose gradients are averaged before the weights change; the last of an
            epoch are fewer where their number is no multiple.
        seed: Decides the start, the order and every view.
        shuffle_shards: Shards of the store whose images are mixed at a time, so that few need to
            lie on this machine; none mixes all images, or 8 shards of a remote store.
        precision: `auto` is bf16 where the hardware has it, else fp32; result.json says which. On
            a CPU bf16 leaves the depthwise convolutions that it would slow down in fp32.
        compile: Compile the encoders with torch.compile.
        shard: Split weights, gradients and optimizer state over the processes (FSDP), for vision
            transformers that do not fit on one device.
        knn_task: Task of the k-NN monitor; empty takes the first label column, if any.
        checkpoint_every: Steps between checkpoints; 0 saves after each epoch and at the end only.
        keep_checkpoints: Newest checkpoints kept.
        views: How the two views are made.
        contrastive: Momentum contrast.
        intermediate: The loss on intermediate stages.
        optimizer: SGD and its schedule.
    """

    EITHER: ClassVar = (("epochs", "steps"),)

    recipe: str = ""
    modality: Modality | None = None
    backbone: str = "resnet50"
    weights: str | None = None
    in_channels: Literal[0, 1, 3] = 0
    zero_init_residual: bool = True
    normalize: Literal["none", "store", "imagenet"] = "store"
    images: Literal["train", "all"] = "train"
    skip_near_copies: bool = False
    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 128
    accumulate: int = 1
    seed: int = 0
    shuffle_shards: int | None = None
    precision: Precision = "auto"
    compile: bool = False
    shard: bool = False
    knn_task: str = ""
    checkpoint_every: int = 0
    keep_checkpoints: int = 2
    views: ViewSettings = field(default_factory=lambda: views_for_modality(None))
    contrastive: ContrastiveSettings = field(default_factory=ContrastiveSettings)
    intermediate: IntermediateSettings = field(default_factory=IntermediateSettings)
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("epochs", "steps", "accumulate", "keep_checkpoints"):
            value = getattr(self, name)
            require(value is None or value >= 1, self, name, "1 or more")
        require(self.batch_size >= 2, self, "batch_size", "2 or more, which are told apart")
        either = self.epochs is None or self.steps is None
        require(either, self, "steps", f"none where epochs is {self.epochs}")
        require(self.seed >= 0, self, "seed", "0 or more")
        require(self.checkpoint_every >= 0, self, "checkpoint_every", "0 or more")
        require_shuffle_shards(self.shuffle_shards, self)

    def steps_per_epoch(self, images: int) -> int:
        """Whole batches in a pass over so many images, 1 at least."""
        return max(1, images // self.batch_size)

    def total_steps(self, images: int) -> int:
        """Steps of the whole run on so many images."""
        if self.epochs is not None:
            return self.epochs * self.steps_per_epoch(images)
        return self.steps or STEPS
