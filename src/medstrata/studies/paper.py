"""The paper's study on each of its three data sets, from the raw download to the exhibits."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from medstrata.data.view_settings import (
    Modality,
    ViewSettings,
    paper_chest_finetune,
    paper_histopathology_finetune,
    paper_retina_finetune,
)
from medstrata.pretraining.recipes import PAPER_ARMS

Preset = Literal["paper", "fair"]

_LABEL_FRACTIONS = {
    # One per cent and all are the paper's; six is named by one secondary source.
    "paper": (0.01, 0.06, 1.0),
    "fair": (0.01, 0.1, 1.0),
}
# Images a step of pre-training; the fair recipes' own 128 want a large GPU at these sizes.
_FAIR_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class _PaperSetup:
    """What the paper did with one data set.

    Attributes:
        dataset: Name in the catalog.
        task: What is predicted; empty takes the catalog's.
        kind: Of the labels: decides the metric, of which the paper names one for each set.
        stored: Side of the stored images in pixels.
        size: Side of the network's input in pixels.
        prepare: Further arguments of `prepare`.
        tuning_views: Views of fine-tuning at a size.
        flips: Changes to the views under preset `fair`.
    """

    dataset: str
    task: str
    kind: str
    stored: int
    size: int
    prepare: dict[str, Any] = field(default_factory=dict)
    tuning_views: Callable[[int], ViewSettings]
    flips: dict[str, Any] = field(default_factory=dict)


_PAPER_SETUPS: dict[Modality, _PaperSetup] = {
    "chest": _PaperSetup(
        dataset="nih-chestxray14",
        task="",
        kind="multilabel",
        stored=512,
        size=512,
        prepare={"split": "paper"},
        tuning_views=paper_chest_finetune,
    ),
    # Patches of 50 px are enlarged by the views, so that the store stays as small as the download.
    "histopathology": _PaperSetup(
        dataset="idc",
        task="idc",
        kind="multiclass",
        stored=50,
        size=255,
        tuning_views=paper_histopathology_finetune,
        flips={"vertical_flip": 0.5},
    ),
    "retina": _PaperSetup(
        dataset="eyepacs",
        task="referable",
        kind="binary",
        stored=299,
        size=299,
        prepare={"fit": "fundus"},
        tuning_views=paper_retina_finetune,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ReproductionSettings:
    """What may be chosen when the paper is repeated; None takes what the preset has.

    Attributes:
        backbone: timm's name of the network.
        size: Pixels of the side of stored images and input; by default as in the paper.
        epochs: Of pre-training; the paper's code leaves it open.
        batch_size: Of pre-training.
        tuning_epochs: Of full fine-tuning.
        fractions: Shares of the labels: '[0.01, 0.1, 1]'.
        seeds: Of pre-training, of the weights of `scratch` and of fine-tuning.
        split: Name of a ready-made split of the data set.
        imagenet: Add this arm: `imagenet`, which needs the network, or `imagenet=FILE`.
    """

    backbone: str = "resnet50"
    size: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    tuning_epochs: int | None = None
    fractions: list[float] | None = None
    seeds: int = 3
    split: str | None = None
    imagenet: str | None = None


def reproduction(
    modality: Modality,
    source: str,
    preset: Preset = "paper",
    settings: ReproductionSettings | None = None,
) -> dict[str, Any]:
    """The study that repeats the paper on one of its data sets, as a study file would hold it.

    Args:
        modality: Which data set: ChestX-ray14, IDC breast patches or EyePACS.
        source: Folder of the raw download; `medstrata datasets NAME` says what is expected there.
        preset: `paper` as the authors ran it, with its errors of evaluation mended and its own
            figures beside the right ones; `fair` with equal starts and current settings.
        settings: What is chosen otherwise.

    Returns:
        Plain values for `medstrata.studies.study_file.as_study`.
    """
    setup, chosen = _PAPER_SETUPS[modality], settings or ReproductionSettings()
    papers = preset == "paper"
    prefix = f"paper/{modality}" if papers else "fair"
    pretrain = {
        "epochs": chosen.epochs,
        "batch_size": chosen.batch_size or (None if papers else _FAIR_BATCH),
    }
    tuning: dict[str, Any] = {"epochs": chosen.tuning_epochs or (100 if papers else 20)}
    if papers:
        tuning |= {
            "batch_size": 16,
            "lr": 1e-3,
            "schedule": "constant",
            "min_steps": 1,
            "head": "zero",
            "keep_statistics_below": 0,
        }
    return {
        "title": f"Intermediate layers in momentum contrast: {modality}, preset {preset}",
        "backbone": chosen.backbone,
        "data": {setup.dataset: _data(setup, source, chosen, papers)},
        "arms": {
            "scratch": {"encoder": "scratch"},
            **({"imagenet": {"encoder": chosen.imagenet}} if chosen.imagenet else {}),
            **{arm: {"recipe": f"{prefix}/{arm}"} for arm in PAPER_ARMS},
        },
        "fractions": list(chosen.fractions or _LABEL_FRACTIONS[preset]),
        "seeds": chosen.seeds,
        "pretrain": {name: value for name, value in pretrain.items() if value is not None},
        "protocols": {
            # The authors drew each share of the labels once.
            "full": {"settings": tuning, **({"draws": 1} if papers else {})},
            "frozen": {"settings": {"layer": "pooled"}, "draws": 1} if papers else {"settings": {}},
        },
        "legacy": papers,
    }


def _data(
    setup: _PaperSetup, source: str, chosen: ReproductionSettings, papers: bool
) -> dict[str, Any]:
    """The data set's part of the study."""
    from medstrata.data.datasets.registry import DATASETS

    side = chosen.size or setup.size
    return {
        "prepare": {
            "source": source,
            "dataset": setup.dataset,
            "size": chosen.size or setup.stored,
            **setup.prepare,
            **({"split": chosen.split} if chosen.split else {}),
        },
        "task": setup.task or DATASETS[setup.dataset].task,
        "kind": setup.kind,
        "views": {"size": side, **({} if papers else setup.flips)},
        "finetune": {"views": asdict(setup.tuning_views(side))} if papers else {},
    }
