"""Named pre-training recipes: each a function that returns complete settings.

`recommended` is ours, and what `pretrain` takes by default. `fair/...` gives all arms one
initialisation, MoCo v2's head, temperature and schedule, the canonical weights of Barlow Twins and
protection against the BatchNorm leak; length, queue, key momentum and warm-up follow the images
(`sizing`), and views the modality where one is named. `paper/...` is what the authors' code ran
(docs/how/paper_map.md lists every difference).

None was run at full size by us. What was measured is ResNet-10-T at 32 px (docs/project/log.md,
docs/results/pretraining-tries.csv) and, with other defaults, at 64 px (docs/results/results.md).
`medstrata bench` prints the hours of a run on your machine.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medstrata.data.view_settings import (
    Modality,
    ViewSettings,
    paper_chest,
    paper_histopathology,
    paper_retina,
    views_for_modality,
)
from medstrata.models.stages import STAGES
from medstrata.pretraining.settings import (
    ContrastiveSettings,
    IntermediateSettings,
    OptimizerSettings,
    PretrainSettings,
)
from medstrata.runtime.settings import parse_settings, replace_settings

_QUARTERS = dict.fromkeys(STAGES, 0.25)
_MAPS = {"stage1": 16, "stage2": 16, "stage3": 4, "stage4": 4}
_GLOBAL = dict.fromkeys(STAGES, 1)
# What stands beside the settings in config.yaml of a run, and in what --print_config printed.
_BESIDE_SETTINGS = {
    *("store", "store_digest"),
    *("source", "config", "out", "resume", "overwrite", "track", "profile"),
}


def recommended(modality: Modality | None = None) -> PretrainSettings:
    """Ours: MoCo on views of the modality, with MSE (chest) or Barlow Twins on all four stages.

    Command: `medstrata pretrain STORE --modality chest --out RUN`, or `histopathology`.

    Cost: 8,000 steps. One of ResNet-10-T at 32 px, batch 128, takes 1.02 (MSE) or 1.26 (Barlow
    Twins) of one of `fair/moco`; all of them about 80 to 105 minutes of one core.

    Measured: on validation, AUROC of pooled frozen features with 1 / 5 / 100 % of the labels, mean
    of 2 seeds. `fair/moco` stands for 2,700 steps of it with a blur of up to 2 px of 32.

    - chest (cxr_kermany): 0.739 / 0.769 / 0.824; `fair/moco` 0.720 / 0.751 / 0.808; random encoder
      0.629 / 0.688 / 0.753. Run with 8,100 steps, crops from 0.7 (level with the 0.5 here) and key
      parts of 32.
    - histopathology (histo_prostate_gleason): 0.768 / 0.763 / 0.858; `fair/moco` 0.665 / 0.668 /
      0.785; random encoder 0.679 / 0.702 / 0.792. Run with 8,100 steps, key parts of 32 and
      BatchNorm in the head, which this recipe leaves out (0.757 against 0.754 at 2,700 steps).
    - The gain is views and steps: the loss adds 0.000 to 0.009. MSE cost 0.008 and 0.033 on
      histopathology.

    Not measured: this very recipe in one run, any test set, another network or size, the retina,
    and images of no named modality (Barlow Twins on MoCo v2's views was measured with a stronger
    blur alone).
    """
    settings = fair_moco_mse(modality) if modality == "chest" else fair_moco_bt(modality)
    return replace(settings, recipe="recommended", steps=8000)


def fair_moco(modality: Modality | None = None) -> PretrainSettings:
    """MoCo v2 on equal terms: `medstrata pretrain STORE --recipe fair/moco --out RUN`.

    ResNet-50, 4,000 steps of 128 images; on a CPU add `--backbone resnet18` or smaller. On one H200
    a step of 256 images of 224 px runs at 2,920 images a second; a whole run was not timed.

    Measured on validation at 32 px, 2,700 steps: chest with crops from 0.5, 0.764, 0.756 and 0.754
    (mean of 1, 5 and 100 % of the labels, pooled features and all stages; 0.749 without, 0.681
    random); histopathology with its soft blur 0.762 and 0.752 (0.691, 0.708).
    """
    return PretrainSettings(
        recipe="fair/moco", modality=modality, views=views_for_modality(modality)
    )


def fair_moco_mse(modality: Modality | None = None) -> PretrainSettings:
    """`fair/moco` with the mean squared error of globally pooled features on all four stages.

    `medstrata pretrain STORE --recipe fair/moco_mse --out RUN`. A step takes 1.02 of one of
    `fair/moco`. Measured as there, over it and paired by seed: chest +0.003 and +0.006, its
    quality reached in half the time (one seed); histopathology -0.033 and -0.008.
    """
    return replace(
        fair_moco(modality),
        recipe="fair/moco_mse",
        intermediate=IntermediateSettings(loss="mse", weights=_QUARTERS, grids=_GLOBAL),
    )


def fair_moco_bt(modality: Modality | None = None) -> PretrainSettings:
    """`fair/moco` with Barlow Twins, on : off weighted 1 : 0.0051 and divided by the width.

    `medstrata pretrain STORE --recipe fair/moco_bt --out RUN`. A step takes 1.26 of one of
    `fair/moco`. Measured as there, over it and paired by seed: chest +0.002 and +0.002;
    histopathology -0.008 and +0.045, after 8,100 steps +0.007 and +0.009.
    """
    return replace(
        fair_moco(modality),
        recipe="fair/moco_bt",
        intermediate=IntermediateSettings(
            loss="barlow_twins", weights=_QUARTERS, projector_size=512
        ),
    )


def fair_moco_cosine(modality: Modality | None = None) -> PretrainSettings:
    """`fair/moco` with the centred cosine: kept to compare with, not to be used.

    `medstrata pretrain STORE --recipe fair/moco_cosine --out RUN`. It narrows the features: their
    effective rank falls from 232 to 36..64 on chest, from 224 to 39 on histopathology, which costs
    0.02 of AUROC with all labels on chest (-0.001 on average) and 0.06 on histopathology, two seeds
    each on validation.
    """
    return replace(
        fair_moco(modality),
        recipe="fair/moco_cosine",
        intermediate=IntermediateSettings(loss="centered_cosine", weights=_QUARTERS),
    )


def _paper(
    modality: Modality,
    arm: str,
    views: ViewSettings,
    batch_size: int,
    intermediate: IntermediateSettings,
    *,
    cap_queue: bool,
) -> PretrainSettings:
    """ResNet-50 from random weights as shipped; the code leaves the number of epochs open."""
    return PretrainSettings(
        recipe=f"paper/{modality}/{arm}",
        modality=modality,
        backbone="resnet50",
        in_channels=3,
        # The shipped code starts the residuals at zero in the two proposed arms only.
        zero_init_residual=intermediate.loss != "none",
        normalize="none",
        epochs=200,
        batch_size=batch_size,
        views=views,
        contrastive=ContrastiveSettings(
            hidden_layers=0,
            temperature=0.07,
            momentum=0.999,
            queue_size=65_536,
            cap_queue=cap_queue,
            mask_own_keys=False,
            key_part_size=0,
        ),
        intermediate=intermediate,
        optimizer=OptimizerSettings(
            lr=0.03, lr_batch=0, weight_decay=1e-4, schedule="constant", warmup_steps=0
        ),
    )


def _paper_losses(grids: dict[str, int]) -> dict[str, IntermediateSettings]:
    return {
        "moco": IntermediateSettings(),
        "moco_mse": IntermediateSettings(loss="mse", weights=_QUARTERS, grids=grids),
        "moco_bt": IntermediateSettings(
            loss="barlow_twins",
            weights=dict.fromkeys(STAGES, 1.0),
            projector_size=2048,
            on_weight=5e-5 / 32,
            off_weight=5e-5 / 32,
        ),
    }


def paper_chest_recipe(arm: str) -> PretrainSettings:
    """Chest X-ray: 512 px, batch 16, MSE on 16 x 16 and 4 x 4 maps.

    `medstrata pretrain STORE --recipe paper/chest/moco_mse --out RUN`, or with the whole study
    `medstrata reproduce chest ROOT --out DIR`. Not run by us: no cost or score is known.
    """
    intermediate = _paper_losses(_MAPS)[arm]
    return _paper("chest", arm, paper_chest(512), 16, intermediate, cap_queue=True)


def paper_histopathology_recipe(arm: str) -> PretrainSettings:
    """Breast histopathology: 255 px, batch 32, MSE on globally pooled features.

    `medstrata pretrain STORE --recipe paper/histopathology/moco_mse --out RUN`, or with the whole
    study `medstrata reproduce histopathology ROOT --out DIR`. Not run by us: no cost or score is
    known.
    """
    intermediate = _paper_losses(_GLOBAL)[arm]
    return _paper(
        "histopathology", arm, paper_histopathology(255), 32, intermediate, cap_queue=True
    )


def paper_retina_recipe(arm: str) -> PretrainSettings:
    """Diabetic retinopathy: 299 px, batch 8, MSE on 16 x 16 and 4 x 4 maps.

    The queue is longer than the authors' training set, so that an image's own old keys are among
    its negatives; kept, as it is what was run.

    `medstrata pretrain STORE --recipe paper/retina/moco_mse --out RUN`, or with the whole study
    `medstrata reproduce retina ROOT --out DIR`. Not run by us: no cost or score is known.
    """
    intermediate = _paper_losses(_MAPS)[arm]
    return _paper("retina", arm, paper_retina(299), 8, intermediate, cap_queue=False)


def _fixed(
    make: Callable[[str], PretrainSettings], arm: str
) -> Callable[[Modality | None], PretrainSettings]:
    """An arm of the paper on one of its data sets, whose modality is named with it."""
    return lambda _: make(arm)


# The paper's arms that are pre-trained, and their recipes on equal terms.
PAPER_ARMS = tuple(_paper_losses(_GLOBAL))
FAIR_ARMS = tuple(f"fair/{arm}" for arm in PAPER_ARMS)
_PAPER_RECIPES: dict[Modality, Callable[[str], PretrainSettings]] = {
    "chest": paper_chest_recipe,
    "histopathology": paper_histopathology_recipe,
    "retina": paper_retina_recipe,
}
# Each takes the modality that is named, if any; those of the paper have their own.
RECIPES: dict[str, Callable[[Modality | None], PretrainSettings]] = {
    "recommended": recommended,
    "fair/moco": fair_moco,
    "fair/moco_mse": fair_moco_mse,
    "fair/moco_bt": fair_moco_bt,
    "fair/moco_cosine": fair_moco_cosine,
    **{
        f"paper/{modality}/{arm}": _fixed(make, arm)
        for modality, make in _PAPER_RECIPES.items()
        for arm in PAPER_ARMS
    },
}


def require_recipe(name: str) -> None:
    """Raise ValueError with the names that there are, unless one of them is this."""
    if name not in RECIPES:
        raise ValueError(f"no recipe {name!r}; there are {', '.join(RECIPES)}")


def recipe(name: str, **overrides: Any) -> PretrainSettings:
    """A recipe with some settings replaced: `settings_from` with its changes by name.

    Args:
        name: One of `RECIPES`, or a file of settings.
        overrides: Settings by name; a nested group takes a mapping of the settings to replace,
            such as `contrastive={"queue_size": 4096}`, or settings that replace it whole.

    Raises:
        ValueError: as `settings_from`.
    """
    return settings_from(name, overrides)


def settings_from(source: str, *changes: Mapping[str, Any]) -> PretrainSettings:
    """A recipe or a file of settings, changed: what Python, commands and studies all do.

    A modality brings its views (and, for `recommended`, its loss) along, wherever among the changes
    it is named, so that the others find them there. Of `epochs` and `steps` one may be named in
    each set of changes, and stands instead of the other. What is named last wins.

    Args:
        source: One of `RECIPES`, or a file: settings of one's own, or `config.yaml` of a run.
        changes: Settings by name as `replace_settings` takes them, one set after the other.

    Raises:
        MedstrataError: the file is no YAML.
        ValueError: no such recipe or setting, a value out of range, or another modality than that
            of a paper's recipe or of the file.
    """
    modalities = [named["modality"] for named in changes if "modality" in named]
    modality = modalities[-1] if modalities else None
    if source not in RECIPES and Path(source).is_file():
        settings = _read_settings(Path(source))
        problem = f"{source} has its own views; give --modality with a recipe's name"
    else:
        require_recipe(source)
        settings = RECIPES[source](modality)
        problem = f"recipe {source} is for {settings.modality}, not for {modality}"
    if modality not in (None, settings.modality):
        raise ValueError(problem)
    for named in changes:
        settings = replace_settings(settings, named)
    return settings


def _read_settings(path: Path) -> PretrainSettings:
    from medstrata.runs.folder import read_config  # heavy, and few runs begin from a file

    values = read_config(path)
    try:
        return parse_settings(
            PretrainSettings, {key: values[key] for key in values if key not in _BESIDE_SETTINGS}
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def arm_of(settings: PretrainSettings) -> str:
    """Short name for tables: the recipe's, unless the loss is not the recipe's own."""
    make = RECIPES.get(settings.recipe)
    own = None if make is None else make(settings.modality).intermediate.loss
    if own == settings.intermediate.loss:
        return settings.recipe.rpartition("/")[2]
    return settings.intermediate.loss.rpartition(":")[2]
