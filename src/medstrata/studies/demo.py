"""The whole job in minutes: a small study of training from scratch and three pre-trainings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.data.synthetic.tissue import make_images
from medstrata.pretraining.recipes import FAIR_ARMS
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.machine import default_threads
from medstrata.studies.settings import StudySettings
from medstrata.studies.study import run_study
from medstrata.studies.study_file import as_study

_MADE_UP_TITLE = "A demonstration on made-up images, which says nothing about medicine"
_IMAGES = 1600
_SIZE = 32
_STEPS, _STEPS_OF_OTHERS = 90, 1000
_SEEDS, _DRAWS = 4, 10  # so many that the report may give a verdict
_TUNING = {"lr": 0.001, "epochs": 8, "patience": 3}
_MOST_JOBS = 4

# Views that change what differs between stains of one tissue, and keep the texture.
_VIEWS = {
    "crop_scale": [0.5, 1.0],
    "brightness": 0.0,
    "contrast": 0.0,
    "saturation": 0.8,
    "hue": 0.5,
    "jitter_probability": 1.0,
    "grey_probability": 0.7,
    "blur_probability": 0.0,
}


def demo(
    out: Path,
    *,
    data: Path | None = None,
    labels: Path | None = None,
    task: str | None = None,
    steps: int | None = None,
    seed: int = 0,
) -> Path:
    """Run a small study and write its report.

    The network is timm's `test_resnet`, of half a million weights. Its arms are training from
    scratch, MoCo, and MoCo with each of the paper's two losses on intermediate stages, with four
    seeds each, fine-tuned on ten draws of 5 % of the labels and on all of them. Interrupted and
    started again with the same arguments, it goes on where it was. A script that calls it needs
    the guard of `study`.

    Args:
        out: Folder for images, store, runs and report.
        data: Folder of images; None makes tissue up, on which a result says that the program runs
            and nothing about medicine.
        labels: CSV of labels for `data`.
        task: Task of the evaluation; by default the first label column.
        steps: Of each pre-training, of 64 images or fewer; none is 90 on the made-up images and
            1,000 on others.
        seed: Of the made-up images.

    Returns:
        The report's path.

    Raises:
        MedstrataError: the images cannot be read or have no label; see `run_study`.
        ValueError: `steps` is below 1.
    """
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be 1 or more, got {steps}")
    title = f"Low-label evaluation of {data.name}" if data else _MADE_UP_TITLE
    views: dict[str, Any] = {}
    if data is None:
        labels, task, views = out / "images" / "labels.csv", "finding", _VIEWS
        steps = steps or _STEPS
        if not labels.is_file():
            say("making images of tissue with a known finding")
            make_images(out / "images", images=_IMAGES, size=_SIZE, seed=seed)
        data = out / "images"
    store = prepare(data, out / "images.store", PrepareSettings(labels=labels, size=_SIZE))
    task = task or next(iter(store.label_columns), None)
    if task is None:
        raise MedstrataError(f"{labels} has no label column; name one with --task")
    settings = replace(_study(store, task, views, steps or _STEPS_OF_OTHERS), title=title)
    jobs = min(default_threads(), _MOST_JOBS)
    return run_study(settings, out / "study", jobs=jobs).report


def _study(store: Store, task: str, views: dict[str, Any], steps: int) -> StudySettings:
    return as_study(
        {
            "backbone": "test_resnet",
            "data": {"images": {"store": str(store.path), "task": task}},
            "arms": {"scratch": {"encoder": "scratch"}}
            | {name.rpartition("/")[2]: {"recipe": name} for name in FAIR_ARMS},
            "fractions": [0.05, 1.0],
            "seeds": _SEEDS,
            "pretrain": {
                "steps": steps,
                "batch_size": min(64, len(store.rows("train")) // 8 * 8),
                "contrastive": {"queue_size": 512, "key_part_size": 32},
                "views": views,
            },
            "protocols": {"full": {"draws": {0.05: _DRAWS}, "settings": _TUNING}},
            "validation": {"same": []},
            "probe": None,
            "reuse": None,
            "atlas": None,
        }
    )
