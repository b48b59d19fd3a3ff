"""What a study is: data sets, arms, fractions, seeds, protocols, analyses.

Nothing heavy is imported here, so that a wrong study file is refused at once.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.view_settings import Modality
from medstrata.evaluation.settings import FinetuneProtocol, Validation
from medstrata.metrics.kinds import TaskKind
from medstrata.pretraining.recipes import require_recipe
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.errors import require, require_choices
from medstrata.runtime.settings import replace_settings

# Draws of the labels where a study does not say. A score from few labels hangs on which they are,
# and one more read-out of frozen features costs next to nothing.
_FEW, _DRAWS, _READ_OUTS_OF_FEW = 0.05, 5, 20

# What may be looked into beside the classifiers, in the order in which it is done.
AnalysisName = Literal["probe", "reuse", "atlas"]
ANALYSES: tuple[AnalysisName, ...] = get_args(AnalysisName)

# What a study's `prepare` may hold beside the source and the settings.
PREPARE_OPTIONS = ("preview", "workers", "allow_leakage", "overwrite")
# Names of data sets and arms become folders.
_NAME = re.compile(r"\w[\w.+-]*")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """One data set of a study.

    Attributes:
        task: What is predicted; see `medstrata.data.labels.make_task`.
        store: A ready store, or its address; or none with `prepare`.
        prepare: To make the store first: `source`, the settings of `PrepareSettings` (labels,
            size...), and options of `prepare` such as `allow_leakage`.
        kind: Overrides the guessed kind of the labels.
        modality: What the images show; recipes bring its views, unless an arm names another.
        views: Changes to the views of every run on this set, such as `vertical_flip: 0.5`.
        pretrain: Changes to pre-training on this set.
        finetune: Changes to fine-tuning on this set.
    """

    task: str
    store: str | None = None
    prepare: dict[str, Any] | None = None
    kind: TaskKind | None = None
    modality: Modality | None = None
    views: dict[str, Any] = field(default_factory=dict)
    pretrain: dict[str, Any] = field(default_factory=dict)
    finetune: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choices(self)
        if (self.store is None) == (self.prepare is None):
            raise ValueError("a data set has either store or prepare")
        if self.prepare is not None and "source" not in self.prepare:
            raise ValueError("prepare lacks source, the folder of images")
        _ = self.prepare_settings  # which checks its own part

    @property
    def prepare_settings(self) -> PrepareSettings:
        """Settings of `prepare`, its paths as they are written."""
        others = ("source", *PREPARE_OPTIONS)
        written = (self.prepare or {}).items()
        chosen = {name: value for name, value in written if name not in others}
        return replace_settings(PrepareSettings(), chosen)


@dataclass(frozen=True, kw_only=True)
class ArmSettings:
    """One arm: an encoder that exists, or a recipe to be pre-trained first.

    Attributes:
        encoder: `scratch`, `imagenet`, `imagenet=FILE`, a weights file of another program, or a
            run folder; in the path `{data}` stands for the name of the data set.
        recipe: Name of a recipe.
        backbone: timm's name, if it differs from the study's.
        pretrain: Changes to the recipe for this arm alone, such as `weights: imagenet`.
    """

    encoder: str | None = None
    recipe: str | None = None
    backbone: str | None = None
    pretrain: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choices(self)
        if (self.encoder is None) == (self.recipe is None):
            raise ValueError("an arm has either encoder or recipe")
        if self.recipe is not None:
            require_recipe(self.recipe)
        if self.encoder is not None:
            EncoderSpec.parse(self.encoder)
        if self.encoder is not None and self.pretrain:
            raise ValueError("pretrain changes a recipe, and this arm has none")

    def encoder_on(self, data: str) -> EncoderSpec | None:
        """The encoder for one data set, None for a recipe."""
        if self.encoder is None:
            return None
        return EncoderSpec.parse(self.encoder.replace("{data}", data))


@dataclass(frozen=True, kw_only=True)
class ProtocolSettings:
    """How classifiers are trained, the same for every arm.

    Attributes:
        settings: Changes to `FinetuneSettings`, such as `epochs: 20`.
        grid: Setting -> values to try; each cell keeps the combination that validates best.
        draws: Draws of the labels, each scored with every seed: one number, or one for each of
            some fractions. Where it is silent, 20 of frozen read-outs at 5 % of the labels and
            below, and 5 of all else. All labels are drawn once.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    grid: dict[str, list[Any]] = field(default_factory=dict)
    draws: int | dict[float, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choices(self)
        numbers = self.draws.values() if isinstance(self.draws, dict) else [self.draws]
        if any(number < 1 for number in numbers):
            raise ValueError(f"draws must be 1 or more, got {min(numbers)}")
        empty = [name for name, values in self.grid.items() if not values]
        if empty:
            raise ValueError(f"grid.{empty[0]} lists no value")


@dataclass(frozen=True, kw_only=True)
class ValidationSettings:
    """At which fractions classifiers are chosen by which validation labels.

    Attributes:
        full: By all of them; none takes every fraction of the study.
        same: By the same share as of the training labels; none takes the smallest fraction. At
            1.0 that is `full`, and is not made twice.
    """

    full: list[float] | None = None
    same: list[float] | None = None


@dataclass(frozen=True, kw_only=True)
class AnalysisSettings:
    """Which cells an analysis is made for.

    Attributes:
        fractions: Label fractions, each one of the study's; none takes them all.
        seeds: How many of the study's seeds, from the first, each with the label draw of its own
            number; none takes them all.
        settings: Changes to the analysis' own settings.
    """

    fractions: list[float] | None = None
    seeds: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_choices(self)
        sound = all(0 < fraction <= 1 for fraction in self.fractions or ())
        require(sound, self, "fractions", "above 0 and at most 1, or none")
        require(self.seeds is None or self.seeds >= 1, self, "seeds", "1 or more, or none")


@dataclass(frozen=True, kw_only=True)
class StudySettings:
    """A study: every arm on every data set, at every fraction, seed and draw of the labels.

    Attributes:
        title: Heading of the report.
        backbone: timm's name of the network of every arm that does not name its own.
        data: Name -> data set.
        arms: Name -> arm.
        fractions: Shares of the labels, each above 0 up to 1.
        baselines: Arms that the report holds the others against, beside scratch, imagenet and moco.
        seeds: Seeds 0, 1, ... of all that is random but the labels: pre-training, the weights of
            `scratch`, fine-tuning. A report says that an arm is better from three on.
        pretrain: Changes to every recipe, such as `steps: 8000`.
        protocols: `full`, `frozen` or both.
        validation: Which validation labels choose, at which fractions.
        probe: Layer-wise probing; none leaves it out.
        reuse: Feature reuse, of fully fine-tuned networks; none leaves it out.
        atlas: Spectrum, neighbours and map of the features; none leaves it out.
        legacy: Add the figures that the paper's own code would give, clearly named.
    """

    data: dict[str, DataSettings]
    arms: dict[str, ArmSettings]
    title: str = "Low-label study"
    backbone: str = "resnet50"
    fractions: list[float] = field(default_factory=lambda: [0.01, 0.1, 1.0])
    baselines: list[str] = field(default_factory=list)
    seeds: int = 3
    pretrain: dict[str, Any] = field(default_factory=dict)
    protocols: dict[FinetuneProtocol, ProtocolSettings] = field(
        default_factory=lambda: {"full": ProtocolSettings(), "frozen": ProtocolSettings()}
    )
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    probe: AnalysisSettings | None = field(default_factory=AnalysisSettings)
    reuse: AnalysisSettings | None = field(default_factory=AnalysisSettings)
    atlas: AnalysisSettings | None = field(default_factory=AnalysisSettings)
    legacy: bool = False

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("data", "arms", "fractions", "protocols"):
            if not getattr(self, name):
                raise ValueError(f"{name} is empty")
        for name in (*self.data, *self.arms):
            if not _NAME.fullmatch(name):
                raise ValueError(f"name {name!r} may hold letters, digits and _ - + . only")
        if unknown := sorted(self.protocols.keys() - set(get_args(FinetuneProtocol))):
            raise ValueError(
                f"no protocol {unknown[0]!r}; there are {', '.join(get_args(FinetuneProtocol))}"
            )
        if lost := [name for name in self.baselines if name not in self.arms]:
            raise ValueError(f"baselines: {lost[0]} is not among the arms {', '.join(self.arms)}")
        if wrong := [one for one in self.fractions if not 0 < one <= 1]:
            raise ValueError(f"fractions must be above 0 and at most 1, got {wrong[0]}")
        require(self.seeds >= 1, self, "seeds", "1 or more")
        self._check_validation()
        self._check_fractions()

    def _check_validation(self) -> None:
        changes = [data.finetune for data in self.data.values()]
        changes += [protocol.settings | protocol.grid for protocol in self.protocols.values()]
        if any("validation" in changed for changed in changes):
            raise ValueError("validation is said of the study, not of a protocol or data set")
        for name in ("full", "same"):
            lacking = set(self.validation_fractions()[name]) - set(self.fractions)
            if lacking:
                raise ValueError(f"validation.{name}: {min(lacking)} is not among the fractions")
        if self.reuse is not None and "full" in self.protocols:
            tuned = self.validation_fractions()["full"]
            lacking = set(self.reuse.fractions or self.fractions) - set(tuned)
            if lacking:
                raise ValueError(f"reuse.fractions: {min(lacking)} is not in validation.full")

    def validation_fractions(self) -> dict[Validation, list[float]]:
        """The fractions at which each choice of validation labels is made."""
        full, same = self.validation.full, self.validation.same
        same = [min(self.fractions)] if same is None else same
        return {
            "full": self.fractions if full is None else full,
            "same": [fraction for fraction in same if fraction < 1],
        }

    def _check_fractions(self) -> None:
        for name, chosen in self.analyses().items():
            if lacking := set(chosen.fractions or ()) - set(self.fractions):
                raise ValueError(f"{name}.fractions: {min(lacking)} is not among the study's")
        for protocol, settings in self.protocols.items():
            named = settings.draws if isinstance(settings.draws, dict) else ()
            if lost := set(named) - set(self.fractions):
                raise ValueError(
                    f"protocols.{protocol}.draws: {min(lost)} is not among the fractions"
                )

    def analyses(self) -> dict[AnalysisName, AnalysisSettings]:
        """The analyses that are wanted, in order."""
        asked: dict[AnalysisName, AnalysisSettings | None] = {
            name: getattr(self, name) for name in ANALYSES
        }
        return {name: chosen for name, chosen in asked.items() if chosen is not None}

    def num_draws(self, protocol: FinetuneProtocol, fraction: float) -> int:
        """How often a share of the labels is drawn under a protocol."""
        if fraction == 1:
            return 1
        given = self.protocols[protocol].draws
        if not isinstance(given, dict):
            return given
        cheap = protocol == "frozen" and fraction <= _FEW
        return given.get(fraction, _READ_OUTS_OF_FEW if cheap else _DRAWS)

    def num_seeds(self, protocol: FinetuneProtocol, arm: str) -> int:
        """How many seeds an arm is scored with: of a ready encoder that is kept frozen, one."""
        encoder = self.arms[arm].encoder
        ready = encoder is not None and EncoderSpec.parse(encoder).kind != "scratch"
        return 1 if ready and protocol == "frozen" else self.seeds
