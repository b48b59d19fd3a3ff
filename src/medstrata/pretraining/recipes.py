"""Named pre-training recipes: each a function that returns complete settings.

`paper/...` is what the authors' code ran (docs/how/paper_map.md lists every difference); `fair/...`
gives all arms one initialisation, MoCo v2's head, temperature and schedule, the canonical weights
of Barlow Twins and protection against the BatchNorm leak.

None was run at full size by us. Measured were three `fair/...` recipes on ResNet-10-T at 64 px, 20
epochs (docs/results/results.md, docs/results/pretraining-runs.csv), and the step of `fair/moco` as
shipped (docs/results/performance.md). `medstrata bench` prints the hours of a run on your machine.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from medstrata.data.view_settings import (
    ViewSettings,
    moco_v2,
    paper_chest,
    paper_histopathology,
    paper_retina,
)
from medstrata.models.stages import STAGES
from medstrata.pretraining.settings import (
    ContrastiveSettings,
    IntermediateSettings,
    OptimizerSettings,
    PretrainSettings,
)
from medstrata.runtime.settings import replace_settings

_QUARTERS = dict.fromkeys(STAGES, 0.25)
_MAPS = {"stage1": 16, "stage2": 16, "stage3": 4, "stage4": 4}
_GLOBAL = dict.fromkeys(STAGES, 1)


def fair_moco() -> PretrainSettings:
    """MoCo v2 on equal terms: `medstrata pretrain STORE --recipe fair/moco --out RUN`.

    ResNet-50, 200 epochs; with a 256 px store and batch 256 a run on 100,000 images is about
    80,000 steps, days on a CPU: set `--backbone resnet18 --epochs 20` there. On one H200 a step
    takes 256 images of 224 px at 2,920 images a second; a whole run was not timed.

    Measured small: 6 minutes on one core for 3,494 chest X-rays. Fine-tuned with 1 % of the labels,
    AUROC -0.022 [-0.043, +0.002] against training from scratch, mean of three sets.
    """
    return PretrainSettings(recipe="fair/moco", views=moco_v2(0))


def fair_moco_mse() -> PretrainSettings:
    """`fair/moco` with the mean squared error of globally pooled features on all four stages.

    `medstrata pretrain STORE --recipe fair/moco_mse --out RUN`. Costs what `fair/moco` costs: the
    loss adds about 1 % to a step of ResNet-50 on a CPU. Measured small, all weights tuned on 1 %
    of the labels: +0.023 [+0.013, +0.031] over `fair/moco`, mean of three sets; clear on chest
    X-rays only.
    """
    return replace(
        fair_moco(),
        recipe="fair/moco_mse",
        intermediate=IntermediateSettings(loss="mse", weights=_QUARTERS, grids=_GLOBAL),
    )


def fair_moco_bt() -> PretrainSettings:
    """`fair/moco` with Barlow Twins, on : off weighted 1 : 0.0051 and divided by the width.

    Divided by the projector's width, the loss of a stage starts near 1, so that the stages'
    weights mean the same for all intermediate losses.

    `medstrata pretrain STORE --recipe fair/moco_bt --out RUN`. Measured small: 8 minutes where
    `fair/moco` took 6; with 1 % of the labels, fine-tuned, +0.006 [-0.005, +0.015] over it.
    """
    return replace(
        fair_moco(),
        recipe="fair/moco_bt",
        intermediate=IntermediateSettings(loss="barlow_twins", weights=_QUARTERS),
    )


def fair_moco_cosine() -> PretrainSettings:
    """`fair/moco` with the centred cosine, which needs no projector and no scale.

    `medstrata pretrain STORE --recipe fair/moco_cosine --out RUN`. No study of ours has it;
    docs/results/performance.md has what it adds to a step on a CPU.
    """
    return replace(
        fair_moco(),
        recipe="fair/moco_cosine",
        intermediate=IntermediateSettings(loss="centered_cosine", weights=_QUARTERS),
    )


def _paper(
    name: str,
    views: ViewSettings,
    batch_size: int,
    intermediate: IntermediateSettings,
    *,
    cap_queue: bool,
) -> PretrainSettings:
    """ResNet-50 from random weights as shipped; the code leaves the number of epochs open."""
    return PretrainSettings(
        recipe=f"paper/{name}",
        backbone="resnet50",
        in_channels=3,
        # The shipped code starts the residuals at zero in the two proposed arms only.
        zero_init_residual=intermediate.loss != "none",
        normalize="none",
        batch_size=batch_size,
        views=views,
        contrastive=ContrastiveSettings(
            hidden_layers=0,
            temperature=0.07,
            momentum=0.999,
            queue_size=65_536,
            cap_queue=cap_queue,
            mask_own_keys=False,
            key_sub_batches=1,
        ),
        intermediate=intermediate,
        optimizer=OptimizerSettings(
            lr=0.03, lr_batch=0, weight_decay=1e-4, schedule="constant", warmup_epochs=0.0
        ),
    )


def _paper_arm(arm: str, grids: dict[str, int]) -> IntermediateSettings:
    match arm:
        case "moco":
            return IntermediateSettings()
        case "moco_mse":
            return IntermediateSettings(loss="mse", weights=_QUARTERS, grids=grids)
        case _:
            return IntermediateSettings(
                loss="barlow_twins",
                weights=dict.fromkeys(STAGES, 1.0),
                projector_size=2048,
                on_weight=5e-5 / 32,
                off_weight=5e-5 / 32,
            )


def paper_chest_recipe(arm: str) -> PretrainSettings:
    """Chest X-ray: 512 px, batch 16, MSE on 16 x 16 and 4 x 4 maps.

    `medstrata pretrain STORE --recipe paper/chest/moco_mse --out RUN`, or with the whole study
    `medstrata reproduce chest ROOT --out DIR`. Not run by us: no cost or score is known.
    """
    settings = _paper_arm(arm, _MAPS)
    return _paper(f"chest/{arm}", paper_chest(512), 16, settings, cap_queue=True)


def paper_histopathology_recipe(arm: str) -> PretrainSettings:
    """Breast histopathology: 255 px, batch 32, MSE on globally pooled features.

    `medstrata pretrain STORE --recipe paper/histopathology/moco_mse --out RUN`, or with the whole
    study `medstrata reproduce histopathology ROOT --out DIR`. Not run by us: no cost or score is
    known.
    """
    settings = _paper_arm(arm, _GLOBAL)
    return _paper(f"histopathology/{arm}", paper_histopathology(255), 32, settings, cap_queue=True)


def paper_retina_recipe(arm: str) -> PretrainSettings:
    """Diabetic retinopathy: 299 px, batch 8, MSE on 16 x 16 and 4 x 4 maps.

    The queue is longer than the authors' training set, so that an image's own old keys are among
    its negatives; kept, as it is what was run.

    `medstrata pretrain STORE --recipe paper/retina/moco_mse --out RUN`, or with the whole study
    `medstrata reproduce retina ROOT --out DIR`. Not run by us: no cost or score is known.
    """
    settings = _paper_arm(arm, _MAPS)
    return _paper(f"retina/{arm}", paper_retina(299), 8, settings, cap_queue=False)


RECIPES: dict[str, Callable[[], PretrainSettings]] = {
    "fair/moco": fair_moco,
    "fair/moco_mse": fair_moco_mse,
    "fair/moco_bt": fair_moco_bt,
    "fair/moco_cosine": fair_moco_cosine,
    "paper/chest/moco": lambda: paper_chest_recipe("moco"),
    "paper/chest/moco_mse": lambda: paper_chest_recipe("moco_mse"),
    "paper/chest/moco_bt": lambda: paper_chest_recipe("moco_bt"),
    "paper/histopathology/moco": lambda: paper_histopathology_recipe("moco"),
    "paper/histopathology/moco_mse": lambda: paper_histopathology_recipe("moco_mse"),
    "paper/histopathology/moco_bt": lambda: paper_histopathology_recipe("moco_bt"),
    "paper/retina/moco": lambda: paper_retina_recipe("moco"),
    "paper/retina/moco_mse": lambda: paper_retina_recipe("moco_mse"),
    "paper/retina/moco_bt": lambda: paper_retina_recipe("moco_bt"),
}


def recipe(name: str, **overrides: Any) -> PretrainSettings:
    """A recipe with some settings replaced.

    Args:
        name: One of `RECIPES`.
        overrides: Settings by name; a nested group takes a mapping of the settings to replace,
            such as `contrastive={"queue_size": 4096}`, or settings that replace it whole.

    Raises:
        ValueError: no such recipe or setting, or a value out of range.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    return replace_settings(RECIPES[name](), overrides)


def arm_of(settings: PretrainSettings) -> str:
    """Short name for tables: the recipe's, unless the loss is not the recipe's own."""
    make = RECIPES.get(settings.recipe)
    if make is not None and make().intermediate.loss == settings.intermediate.loss:
        return settings.recipe.rpartition("/")[2]
    return settings.intermediate.loss.rpartition(":")[2]
