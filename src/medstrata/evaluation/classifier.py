"""Fine-tuned classifiers on disk: head, classes, thresholds, how images are prepared for them.

exported/
  model.json            everything but the numbers
  head.safetensors      weight (outputs, D) and bias (outputs,) on the D pooled features; after
                        the frozen protocol also mean and std (D,), which standardise these
  backbone.safetensors  of the full protocol; the frozen one names its encoder in model.json
  config.json           likewise, as an encoder's
  README.md             what it is, and how to load it without this package
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.labels import Task
from medstrata.data.prepare.decode import StoreFormat
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation, ImageFacts, predicted_classes, seeded_encoder
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.threshold import OperatingPoint, youden
from medstrata.models.encoders import LoadedEncoder, encoder_digest, export_backbone
from medstrata.models.heads import Head
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import unusable_run
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import replacing, write_text
from medstrata.runtime.markdown import escaped

NOTICE = "Research software, not a medical device: not for diagnosis or treatment."
_FORMAT = 1


@dataclass(frozen=True)
class StoredClassifier:
    """A fine-tuned run, ready to be used.

    Attributes:
        loaded: The encoder.
        head: On its pooled features.
        kind: Of the labels.
        classes: All of them, or the labels of a multi-label task.
        columns: The classes that have a column of probability: of a binary task, the second.
        thresholds: Of the columns, where a threshold decides; empty where the largest does.
        form: How files are prepared, as the run's store was.
    """

    loaded: LoadedEncoder
    head: Head
    kind: TaskKind
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    thresholds: dict[str, float]
    form: StoreFormat


def choose_thresholds(
    task: Task, rows: NDArray[np.int64], probability: NDArray[np.float32]
) -> dict[str, Any]:
    """How probabilities become classes, decided on the validation images, as it is written down.

    Args:
        task: With the answers.
        rows: The validation images, shape (N,).
        probability: Of them, shape (N, columns).
    """
    if task.kind in ("multiclass", "ordinal"):
        return {"rule": "largest", "chosen_on": "validation", "values": {}}
    targets = task.targets[rows].reshape(len(rows), -1)
    points: dict[str, OperatingPoint] = {}
    for column, name in enumerate(predicted_classes(task)):
        known = ~np.isnan(targets[:, column])
        points[name] = youden(targets[known, column] == 1, probability[known, column])
    values = {name: point._asdict() for name, point in points.items()}
    return {"rule": "youden", "chosen_on": "validation", "values": values}


def export_classifier(
    begun: Evaluation, head: Head, thresholds: dict[str, Any], settings: FinetuneSettings
) -> None:
    """Write a run's `exported/`, all that its predictions need.

    Args:
        begun: The evaluation, its encoder with final weights.
        head: The fitted layer.
        thresholds: As `choose_thresholds` gives them.
        settings: Of the run; an encoder that was kept frozen is named, not written.
    """
    store, task, loaded = begun.store, begun.task, begun.loaded
    encoder = None if settings.protocol == "full" else begun.recorded["encoder"]
    folder = begun.out / "exported"
    folder.mkdir(exist_ok=True)
    if encoder is None:
        export_backbone(folder, loaded)
    tensors = {name: value for name, value in head._asdict().items() if value is not None}
    with replacing(folder / "head.safetensors") as temporary:
        temporary.write_bytes(save({name: one.contiguous() for name, one in tensors.items()}))
    plan = store.plan
    model = {
        "format": _FORMAT,
        "notice": NOTICE,
        "task": {"name": task.name, "kind": task.kind, "classes": list(task.classes)},
        "columns": list(predicted_classes(task)),
        "thresholds": thresholds,
        "architecture": loaded.architecture,
        "encoder": encoder,
        "encoder_digest": encoder_digest(loaded),
        "seed": settings.seed,
        "image_size": settings.image_size,
        "preprocessing": asdict(loaded.preprocessing),
        "head": {name: list(value.shape) for name, value in tensors.items()},
        "preparation": {
            "size": store.size,
            "channels": store.channels,
            "fit": plan.get("fit", "pad"),
            "window": plan.get("window", "first"),
            "frames": plan.get("frames", "middle"),
            "axis": plan.get("axis", "axial"),
            "bits": 8 * store.dtype.itemsize,
        },
        "store": {"name": store.path.name, "mean": list(store.mean), "std": list(store.std)},
    }
    write_text(folder / "README.md", _card(model))
    write_text(folder / "model.json", json.dumps(model, indent=2) + "\n")


def load_classifier(run: Path | str) -> StoredClassifier:
    """Load what `finetune` has kept.

    Args:
        run: A finished run of `finetune`, of either protocol.

    Raises:
        MedstrataError: it is no such run, its files are damaged, or its encoder is not the one it
            was fitted on.
    """
    run = Path(run)
    folder = run / "exported"
    if not (folder / "model.json").is_file():
        raise unusable_run(run, "a finished run of `finetune`, which holds a classifier")
    try:
        model = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        head = Head(**load_file(folder / "head.safetensors"))
        prepared, told = model["preparation"], model["store"]
        options = {name: prepared[name] for name in ("window", "frames", "axis", "bits")}
        form = StoreFormat(
            prepared["size"], prepared["channels"], prepared["fit"], ReadSettings(**options)
        )
        facts = ImageFacts(form.size, form.channels, tuple(told["mean"]), tuple(told["std"]))
        encoder, digest = model["encoder"], model["encoder_digest"]
        kept = EncoderSpec("path", run)
        spec = kept if encoder is None else EncoderSpec.parse(encoder).below(run)
        described = {
            "kind": model["task"]["kind"],
            "classes": tuple(model["task"]["classes"]),
            "columns": tuple(model["columns"]),
            "thresholds": {
                name: float(point["threshold"])
                for name, point in model["thresholds"]["values"].items()
            },
        }
        drawn = {"backbone": model["architecture"], "image_size": int(model["image_size"])}
        seed = int(model["seed"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise MedstrataError(
            f"{folder} is damaged ({type(error).__name__}); fine-tune again"
        ) from error
    # Weights that are drawn must not move the caller's random numbers.
    with torch.random.fork_rng(devices=[]):
        loaded = seeded_encoder(spec, facts, seed=seed, **drawn)
    if encoder_digest(loaded) != digest:
        raise MedstrataError(
            f"{run} was fitted on another encoder than {spec} is now; fine-tune again"
        )
    return StoredClassifier(loaded=loaded, head=head, form=form, **described)


def _card(model: dict[str, Any]) -> str:
    """The README of an exported classifier."""
    task, head = model["task"], model["head"]
    lines = [
        f"# {escaped(task['name'])}: a {task['kind']} classifier",
        "",
        f"**{NOTICE}**",
        "",
        f"A linear layer on the {head['weight'][1]} pooled features of a {model['architecture']} "
        f"(timm's name), fitted by medstrata. Classes: {', '.join(map(escaped, task['classes']))}.",
        "",
    ]
    points = model["thresholds"]["values"]
    if points:
        lines += [
            "Thresholds by Youden's J on the validation images, which flatters them there:",
            "",
            "| class | threshold | sensitivity | specificity | positives | negatives |",
            "|---|---|---|---|---|---|",
            *(
                f"| {escaped(name)} | {point['threshold']:.4f} | {_share(point['sensitivity'])} | "
                f"{_share(point['specificity'])} | {point['positives']} | {point['negatives']} |"
                for name, point in points.items()
            ),
            "",
        ]
    standardise = " The features are standardised first: (features - mean) / std."
    lines += [
        "Logits are `features @ weight.T + bias`, with the tensors of head.safetensors."
        + (standardise if "mean" in head else ""),
        _ACTIVATIONS[task["kind"]],
        "",
        "The features are those of "
        + ("backbone.safetensors" if model["encoder"] is None else escaped(model["encoder"]))
        + ", a state dict with timm's keys for `timm.create_model("
        + f'"{model["architecture"]}", num_classes=0, '
        + f"in_chans={model['preprocessing']['channels']})`. Input: model.json, `preprocessing`.",
    ]
    return "\n".join(lines) + "\n"


_ACTIVATIONS: dict[str, str] = {
    "binary": "Their sigmoid is the probability of the second class.",
    "multilabel": "Their sigmoids are the probabilities of the labels.",
    "multiclass": "Their softmax gives the probabilities of the classes.",
    "ordinal": "Sigmoid k is the probability of a grade above k; differences give each grade's.",
}


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
