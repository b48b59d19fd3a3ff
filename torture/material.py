"""Small images, runs and a study, made once; each section works on copies."""

from functools import cached_property
from pathlib import Path

from harness import run

# Of seconds; a network that only tests use.
_SMALL = ["--backbone", "test_resnet", "--batch_size", "8"]
_PRETRAIN = [*_SMALL, "--contrastive.queue_size", "20", "--epochs", "3", "--checkpoint_every", "2"]
_TUNE = ["--task", "finding", "--backbone", "test_resnet", "--resamples", "20"]


class Material:
    """What the sections start from, made when it is first wanted.

    Args:
        folder: Holds all of it, from one call to the next.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.images, self.labels = folder, folder / "images", folder / "labels.csv"

    @cached_property
    def store(self) -> Path:
        """60 grey images of 20 patients, prepared."""
        from support.tiny import make_folder

        out = self.folder / "tiny.store"
        if not self.labels.is_file():
            make_folder(self.folder)
        return self._made(out, "store.json", self.prepare(out))

    @cached_property
    def pretrained(self) -> Path:
        """A finished pre-training."""
        out = self.folder / "pretrained"
        return self._made(out, "result.json", self.pretrain(out))

    @cached_property
    def tuned(self) -> Path:
        """Its encoder, fine-tuned."""
        out = self.folder / "tuned"
        return self._made(out, "result.json", self.finetune(out, self.pretrained))

    def _made(self, out: Path, last: str, words: list[object]) -> Path:
        if not (out / last).is_file():
            ended = run([*words, "--overwrite"], self.folder / "log")
            assert ended.status == 0, ended.text
        return out

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
