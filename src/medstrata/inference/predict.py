"""Predictions of a fine-tuned run for any images, as a table or line by line."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from medstrata.data.seen_patients import check_patients, read_patients
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import StoredClassifier, load_classifier
from medstrata.evaluation.seeded_encoder import say_grey
from medstrata.inference.forward import BatchOutput, Quarantine, forward_batches, quarantine_beside
from medstrata.inference.inputs import image_batches, open_inputs, say_preparation
from medstrata.inference.settings import BATCH_SIZE
from medstrata.models.features import read_layer, single_output
from medstrata.models.heads import LinearHead, probabilities
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.console import put, say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_file
from medstrata.runtime.harmless import csv_lines

STDOUT = "-"


def predict(
    run: Path | str,
    source: Store | Path | str,
    out: Path | str,
    *,
    batch_size: int = BATCH_SIZE,
    strict: bool = False,
    workers: int | None = None,
    allow_leakage: bool = False,
    encoder: str | Path | EncoderSpec | None = None,
) -> Path | None:
    """Write the probabilities and the class of every image of a source.

    Files are prepared as the store was that the run was fitted on.

    Args:
        run: A finished run of `finetune`.
        source: A store, a folder of images, one image, or "-" for paths on standard input.
        out: CSV file to write, or "-" for standard output, line by line.
        batch_size: Images at a time.
        strict: Fail when an image cannot be read, after everything else has been written.
        workers: Decoding threads; by default one a core.
        allow_leakage: Go on where patients of a store's test split were trained on with labels.
        encoder: Where the encoder of a frozen run lies now, if it was moved.

    Returns:
        The file, None for standard output. Columns `id`, `patient_id` where known,
        `probability.<class>` as in the run's predictions.parquet, and `predicted`: the class by
        the run's threshold or with the largest probability; of a multi-label task
        `predicted.<label>`, 0 or 1. Images that cannot be read are listed in
        `<name>.quarantine.csv` beside the file.

    Raises:
        MedstrataError: the run or the source does not exist, nothing can be read, or test patients
            were trained on.
    """
    if batch_size < 1:
        raise MedstrataError(f"batch size {batch_size} must be 1 or more")
    classifier = load_classifier(run, encoder)
    inputs = open_inputs(source)
    if isinstance(inputs, Store):
        test = inputs.rows("test")
        seen = read_patients(Path(run))
        check_patients(Path(run).name, seen, inputs, test, allow_leakage=allow_leakage)
        say_grey(classifier.loaded, inputs)
    else:
        say_preparation(classifier.form)
    path = None if str(out) == STDOUT else Path(out)
    quarantine = Quarantine(None if path is None else quarantine_beside(path))
    batches = forward_batches(
        image_batches(inputs, classifier.form, batch_size, workers),
        _EndToEnd(classifier),
        classifier.loaded.preprocessing,
        single_output,
        quarantine,
        title=f"predictions of {Path(run).name}",
    )
    with closing(batches), _lines(path) as write:
        for number, batch in enumerate(batches):
            head = [] if number else [_header(classifier, batch)]
            write(csv_lines(chain(head, _csv_rows(classifier, batch))))
        quarantine.write()
    quarantine.conclude(strict)
    if path is not None:
        say(f"predictions for {quarantine.done} images in {path}")
    return path


def decide(classifier: StoredClassifier, values: NDArray[np.float32]) -> list[list[str]]:
    """The predicted class of each image, or 0 and 1 for each label, of probabilities (B, columns).

    A probability at its threshold counts as yes.
    """
    if not classifier.thresholds:
        return [[classifier.classes[place]] for place in values.argmax(axis=1)]
    cuts = np.array([classifier.thresholds[name] for name in classifier.columns])
    yes = values.astype(np.float64) >= cuts
    if classifier.kind == "binary":
        return [[classifier.classes[int(row[0])]] for row in yes]
    return [[str(int(each)) for each in row] for row in yes]


class _EndToEnd(nn.Module):
    """From images to probabilities."""

    weight: Tensor
    bias: Tensor
    mean: Tensor | None
    std: Tensor | None

    def __init__(self, classifier: StoredClassifier) -> None:
        super().__init__()
        self.backbone = classifier.loaded.backbone
        self.kind = classifier.kind
        self.layer = classifier.layer
        for name, tensor in classifier.head._asdict().items():
            self.register_buffer(name, tensor)

    def forward(self, images: Tensor) -> Tensor:
        head = LinearHead(self.weight, self.bias, self.mean, self.std)
        return probabilities(head(read_layer(self.backbone(images), self.layer)), self.kind)


def _header(classifier: StoredClassifier, batch: BatchOutput) -> list[str]:
    names = ["id"] if batch.patients is None else ["id", "patient_id"]
    names += [f"probability.{name}" for name in classifier.columns]
    if classifier.kind == "multilabel":
        return names + [f"predicted.{name}" for name in classifier.columns]
    return [*names, "predicted"]


def _csv_rows(classifier: StoredClassifier, batch: BatchOutput) -> Iterator[list[str]]:
    (values,) = batch.values
    ids = zip(batch.ids, *([batch.patients] if batch.patients else []), strict=True)
    for names, row, decided in zip(ids, values, decide(classifier, values), strict=True):
        # Nine digits give back the same float32.
        yield [*names, *(f"{value:.9g}" for value in row), *decided]


@contextmanager
def _lines(path: Path | None) -> Iterator[Callable[[str], object]]:
    """What takes the lines of the table."""
    if path is None:
        yield put
        return
    with (
        atomic_file(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        yield stream.write
