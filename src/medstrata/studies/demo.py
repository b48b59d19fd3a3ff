"""The whole job in minutes: prepare, pre-train three arms, fine-tune at two fractions, report."""

from pathlib import Path

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.data.synthetic import make_images
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import FAIR_ARMS, recipe
from medstrata.pretraining.settings import PretrainSettings
from medstrata.report.page import write_report
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError, Stopped

# Small enough for two CPU cores; the same for every arm.
_FRACTIONS = (0.05, 1.0)
_BACKBONE = "resnet10t"
_SIZE = 64
_EPOCHS = 4
_IMAGES = 1000
_TUNING = FinetuneSettings(epochs=3, min_steps=30)
_SYNTHETIC_TITLE = "A demonstration on made-up images, which says nothing about medicine"


def demo(
    out: Path,
    *,
    data: Path | None = None,
    labels: Path | None = None,
    task: str | None = None,
    epochs: int | None = None,
) -> Path:
    """Run everything once on a small backbone and write a report.

    Interrupted and started again with the same arguments, it goes on where it was.

    Args:
        out: Folder for images, store, runs and report.
        data: Folder of images; None makes synthetic ones, on which a result says that the program
            runs and nothing about medicine.
        labels: CSV of labels for `data`.
        task: Task of the evaluation; by default the first label column.
        epochs: Pre-training epochs.

    Returns:
        The report's path.
    """
    title = f"Low-label evaluation of {data.name}" if data else _SYNTHETIC_TITLE
    if data is None:
        labels, task = out / "images" / "labels.csv", "finding"
        if not labels.is_file():
            say("making synthetic images with a known finding")
            make_images(out / "images", images=_IMAGES, size=_SIZE)
        data = out / "images"
    store = prepare(data, out / "images.store", PrepareSettings(labels=labels, size=_SIZE))
    task = task or next(iter(store.label_columns), None)
    if task is None:
        raise MedstrataError(f"{labels} has no label column; name one with --task")
    settings = {name: _settings(name, store, epochs or _EPOCHS) for name in FAIR_ARMS}
    for name, chosen in settings.items():
        try:
            pretrain(store, chosen, out / "pretrain" / _short(name), resume=True)
        except Stopped as stopped:
            raise Stopped("stopped and saved; the same command goes on") from stopped
    arms = {"scratch": "scratch"} | {
        _short(name): str(out / "pretrain" / _short(name)) for name in FAIR_ARMS
    }
    for fraction in _FRACTIONS:
        for arm, encoder in arms.items():
            finetune(
                encoder,
                store,
                task,
                fraction,
                out / "finetune" / f"{arm}-{fraction:g}",
                _TUNING,
                backbone=_BACKBONE,
                resume=True,
            )
    report = write_report([out / "pretrain", out / "finetune"], out / "report.html", title)
    say(f"report in {report}")
    return report


def _short(name: str) -> str:
    return name.rpartition("/")[2]


def _settings(name: str, store: Store, epochs: int) -> PretrainSettings:
    """A recipe cut down to minutes: a small network and few passes."""
    images = len(store.rows("train"))
    return recipe(
        name,
        backbone=_BACKBONE,
        epochs=epochs,
        batch_size=min(128, images // 8 * 8),
    )
