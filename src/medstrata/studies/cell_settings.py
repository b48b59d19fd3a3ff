"""Which settings each cell of a study gets: the study's changes to those that the parts have."""

from dataclasses import replace

from medstrata.evaluation.settings import (
    AtlasSettings,
    FinetuneProtocol,
    FinetuneSettings,
    ProbeSettings,
    ReuseSettings,
)
from medstrata.pretraining.recipes import settings_from
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.settings import replace_settings
from medstrata.studies.settings import StudySettings


def check_cells(study: StudySettings) -> None:
    """Check that every cell has settings, so that none is refused hours later.

    Raises:
        ValueError: a change names no setting, or a value out of range.
    """
    for data in study.data:
        for protocol in study.protocols:
            finetune_settings(study, data, protocol)
        for arm in study.arms:
            pretrain_settings(study, data, arm, 0)
        probe_settings(study, data)
        atlas_settings(study, data)
    reuse_settings(study)


def pretrain_settings(
    study: StudySettings, data: str, arm: str, seed: int
) -> PretrainSettings | None:
    """Of one arm's pre-training on one data set, None for a ready encoder.

    The data set's modality comes first, then the study's changes, the arm's, and the data set's.
    """
    chosen, images = study.arms[arm], study.data[data]
    if chosen.recipe is None:
        return None
    settings = settings_from(
        chosen.recipe,
        {} if images.modality is None else {"modality": images.modality},
        {"backbone": chosen.backbone or study.backbone, "seed": seed},
        study.pretrain,
        chosen.pretrain,
        images.pretrain,
        {"views": images.views},
    )
    return replace(settings, knn_task=settings.knn_task or images.task)


def finetune_settings(
    study: StudySettings, data: str, protocol: FinetuneProtocol
) -> FinetuneSettings:
    """Of fine-tuning on one data set, still with seed 0."""
    settings = FinetuneSettings(protocol=protocol)
    for changes in (study.protocols[protocol].settings, study.data[data].finetune):
        settings = replace_settings(settings, changes)
    return replace_settings(settings, {"views": study.data[data].views})


def probe_settings(study: StudySettings, data: str) -> ProbeSettings:
    """Of layer-wise probing on one data set, still with seed 0."""
    settings = ProbeSettings(image_size=_image_size(study, data))
    return replace_settings(settings, study.probe.settings if study.probe else {})


def atlas_settings(study: StudySettings, data: str) -> AtlasSettings:
    """Of the atlas on one data set."""
    settings = AtlasSettings(image_size=_image_size(study, data))
    return replace_settings(settings, study.atlas.settings if study.atlas else {})


def reuse_settings(study: StudySettings, seed: int = 0) -> ReuseSettings:
    """Of feature reuse."""
    settings = ReuseSettings(seed=seed, legacy=study.legacy)
    return replace_settings(settings, study.reuse.settings if study.reuse else {})


def _image_size(study: StudySettings, data: str) -> int:
    """Pixels of the side of a network's input, the same under every protocol."""
    return finetune_settings(study, data, next(iter(study.protocols))).views.size
