"""Small images, runs and a study, made once; each section works on copies."""

from dataclasses import dataclass
from pathlib import Path

from harness import run

# Of seconds; a network that only tests use.
_SMALL = ["--backbone", "test_resnet", "--batch_size", "8"]
_PRETRAIN = [*_SMALL, "--contrastive.queue_size", "20", "--epochs", "3", "--checkpoint_every", "2"]
_TUNE = ["--task", "finding", "--backbone", "test_resnet", "--resamples", "20"]


@dataclass(frozen=True)
class Material:
    """What the sections start from.

    Attributes:
        folder: Holds all of it.
        images: 60 grey images.
        labels: Their table.
        store: Prepared of both.
        pretrained: A finished pre-training.
        tuned: A finished fine-tuning of it.
    """

    folder: Path
    images: Path
    labels: Path
    store: Path
    pretrained: Path
    tuned: Path

    def prepare(self, out: Path) -> list[object]:
        """The words that prepare the images."""
        split = ["--split", "0.5/0.25/0.25"]
        return ["prepare", self.images, "--labels", self.labels, *split, "--out", out]

    def pretrain(self, out: Path, store: Path | None = None) -> list[object]:
        """The words that pre-train on a store."""
        recipe = ["--recipe", "fair/moco_mse"]
        return ["pretrain", store or self.store, *recipe, *_PRETRAIN, "--out", out]

    def finetune(self, out: Path, start: object = "scratch") -> list[object]:
        """The words that fine-tune all weights."""
        steps = ["--epochs", "3", "--min_steps", "3", "--batch_size", "8"]
        return ["finetune", start, self.store, *_TUNE, *steps, "--out", out]

    def freeze(self, out: Path, start: object = "scratch") -> list[object]:
        """The words that fit a read-out of a frozen encoder."""
        return ["finetune", start, self.store, *_TUNE, "--protocol", "frozen", "--out", out]

    def export(self, out: Path) -> list[object]:
        """The words that export the pre-trained encoder."""
        return ["export", self.pretrained, "--to", "timm", "--out", out]

    def report(self, out: Path) -> list[object]:
        """The words that report on the runs."""
        return ["report", self.pretrained, self.tuned, "--to", out]


def make(folder: Path) -> Material:
    """Make the images and the runs, or find those of an earlier call."""
    from support.tiny import make_folder

    names = ("images", "labels.csv", "tiny.store", "pretrained", "tuned")
    material = Material(folder, *(folder / name for name in names))
    if not (material.tuned / "result.json").is_file():
        if not material.labels.is_file():
            make_folder(folder)
        log = folder / "log"
        for words in (
            [*material.prepare(material.store), "--overwrite"],
            [*material.pretrain(material.pretrained), "--overwrite"],
            [*material.finetune(material.tuned, material.pretrained), "--overwrite"],
        ):
            ended = run(words, log)
            assert ended.status == 0, ended.text
    return material
