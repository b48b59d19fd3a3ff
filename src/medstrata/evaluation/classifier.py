"""Fine-tuned classifiers on disk: head, classes, thresholds, how images are prepared for them.

exported/
  model.json            everything but the numbers
  head.safetensors      weight (outputs, D) and bias (outputs,) on the D features of the layer that
                        model.json names; after the frozen protocol also mean and std (D,), which
                        standardise these
  backbone.safetensors  of the full protocol; the frozen one names its encoder in model.json
  config.json           likewise, as an encoder's
  README.md             what it is, and how to load it without this package
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.decode import StoreFormat
from medstrata.evaluation.classifier_card import NOTICE, classifier_card
from medstrata.evaluation.fit_result import FitResult
from medstrata.evaluation.result_tables import predicted_classes
from medstrata.evaluation.seeded_encoder import ImageFacts, encoder_of_run
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation
from medstrata.metrics.kinds import TaskKind
from medstrata.models.encoders import LoadedEncoder, encoder_digest, export_backbone
from medstrata.models.heads import LinearHead
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import unusable_run
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import save_tensors, write_text
from medstrata.runtime.process_state import preserve_process_state
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream

_FORMAT = 2


@dataclass(frozen=True)
class StoredClassifier:
    """A fine-tuned run, ready to be used.

    Attributes:
        loaded: The encoder.
        head: On the features of its layer.
        layer: `pooled`, a stage, or `all` of them; see `features.read_layer`.
        kind: Of the labels.
        classes: All of them, or the labels of a multi-label task.
        columns: The classes that have a column of probability: of a binary task, the second.
        thresholds: Of the columns, where a threshold decides; empty where the largest does.
        form: How files are prepared, as the run's store was.
    """

    loaded: LoadedEncoder
    head: LinearHead
    layer: str
    kind: TaskKind
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    thresholds: dict[str, float]
    form: StoreFormat


def export_classifier(
    evaluation: Evaluation,
    fitted: FitResult,
    thresholds: dict[str, Any],
    settings: FinetuneSettings,
) -> None:
    """Write a run's `exported/`, all that its predictions need.

    Args:
        evaluation: The evaluation.
        fitted: Has the fitted layer, what it reads, and the encoder where that was tuned; one that
            was kept frozen is named, not written.
        thresholds: As `thresholds.choose_thresholds` gives them.
        settings: Of the run.
    """
    store, task = evaluation.store, evaluation.task
    loaded = fitted.encoder or evaluation.loaded
    encoder = None if fitted.encoder else evaluation.recorded["encoder"]
    folder = evaluation.out / "exported"
    folder.mkdir(exist_ok=True)
    if encoder is None:
        export_backbone(folder, loaded)
    tensors = {name: value for name, value in fitted.head._asdict().items() if value is not None}
    save_tensors(folder / "head.safetensors", tensors)
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
        "layer": fitted.layer,
        "head": {name: list(value.shape) for name, value in tensors.items()},
        "head_digest": _head_digest(fitted.head),
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
    write_text(folder / "README.md", classifier_card(model))
    write_text(folder / "model.json", json.dumps(model, indent=2) + "\n")


@preserve_process_state()
def load_classifier(
    run: Path | str, encoder: str | Path | EncoderSpec | None = None
) -> StoredClassifier:
    """Load what `finetune` has kept.

    Args:
        run: A finished run of `finetune`, of either protocol.
        encoder: Where the encoder of a frozen one lies now, if it was moved.

    Raises:
        MedstrataError: it is no such run, its files are damaged, or its encoder is not the one it
            was fitted on.
    """
    run = Path(run)
    folder = run / "exported"
    if not (folder / "model.json").is_file():
        raise unusable_run(run, "a finished run of `finetune`, which holds a classifier")
    try:
        model = read_json(folder / "model.json")
        head = LinearHead(**load_file(folder / "head.safetensors"))
        prepared, store = model["preparation"], model["store"]
        options = {name: prepared[name] for name in ("window", "frames", "axis", "bits")}
        form = StoreFormat(
            prepared["size"], prepared["channels"], prepared["fit"], ReadSettings(**options)
        )
        facts = ImageFacts(form.size, form.channels, tuple(store["mean"]), tuple(store["std"]))
        recorded, digest = model["encoder"], model["encoder_digest"]
        described = {
            "layer": str(model["layer"]),
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
    # Models of earlier versions have none.
    if model.get("head_digest") not in (None, _head_digest(head)):
        raise MedstrataError(
            f"{folder / 'head.safetensors'} has changed since it was written; put it back, or "
            "fine-tune again"
        )
    random_state = TorchRandomState(Stream.EVALUATED_WEIGHTS, seed)
    if recorded is None:  # fine-tuned whole: it is in the run itself
        recorded, encoder = str(EncoderSpec("path", Path())), None
    loaded = encoder_of_run(
        run, recorded, digest, encoder, facts, random_state=random_state, **drawn
    )
    return StoredClassifier(loaded=loaded, head=head, form=form, **described)


def _head_digest(head: LinearHead) -> str:
    """Names a head: its tensors, by name and value."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in head._asdict().items():
        if value is not None:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
