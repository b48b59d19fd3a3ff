"""What is exported: the encoder of a finished run, with the head of a fine-tuned one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medstrata.evaluation.classifier import load_classifier
from medstrata.models.backbones import Backbone
from medstrata.models.encoders import load_run
from medstrata.models.heads import LinearHead
from medstrata.models.preprocessing import Preprocessing
from medstrata.runs.folder import read_config, read_result, unusable_run
from medstrata.runs.kinds import RunKind, kind_of
from medstrata.runtime.errors import MedstrataError

_BATCH = 3  # images of the fixed input; not the batch that graphs are traced with


@dataclass(frozen=True)
class ExportSource:
    """An encoder as a run left it, in evaluation mode on the CPU.

    Attributes:
        run: The run folder.
        arm: Short name in tables.
        architecture: timm's name.
        backbone: The network with taps on its stages.
        head: The linear layer on its pooled features; None where there is none or none is wanted.
        preprocessing: What the encoder expects of its input.
        result: What result.json holds.
        settings: What config.yaml holds.
        fit: How images were brought to a square, as in `prepare`; None where the run does not say.
    """

    run: Path
    arm: str
    architecture: str
    backbone: Backbone
    head: nn.Linear | None
    preprocessing: Preprocessing
    result: Mapping[str, Any]
    settings: Mapping[str, Any]
    fit: str | None

    @property
    def kind(self) -> RunKind | None:
        """Which kind of run it is of."""
        return kind_of(self.result)


def open_source(run: Path, *, head: bool) -> ExportSource:
    """Load the encoder of a finished pre-training or fully fine-tuned run, or an imported one.

    Args:
        run: The run folder.
        head: Whether to keep the head of a fine-tuned run.

    Raises:
        MedstrataError: the run is not finished, is of another kind, or its weights are damaged.
    """
    result = read_result(run)
    if result is None:
        raise unusable_run(run, "a finished pre-training or fine-tuned run")
    kind, settings = kind_of(result), read_config(run / "config.yaml")
    layer, fit = None, None
    if kind in ("pretrain", "import"):
        loaded = load_run(run)
        arm = loaded.arm
    elif kind != "finetune":
        raise MedstrataError(
            f"{run} holds a run of kind {result.get('kind')}; give a pre-training or fine-tuned run"
        )
    elif result["protocol"] != "full":
        raise MedstrataError(
            f"{run} trained a linear layer on frozen features and changed no encoder; export the "
            "encoder it was given, or fine-tune with --protocol full"
        )
    else:
        stored = load_classifier(run)
        loaded, arm, fit = stored.loaded, result["arm"], stored.form.fit
        layer = _linear(stored.head) if head else None
    backbone = loaded.backbone.eval()
    return ExportSource(
        run, arm, loaded.architecture, backbone, layer, loaded.preprocessing, result, settings, fit
    )


def _linear(head: LinearHead) -> nn.Linear:
    layer = nn.Linear(head.weight.shape[1], head.weight.shape[0])
    layer.load_state_dict({"weight": head.weight, "bias": head.bias})
    return layer


def fixed_pixels(source: ExportSource) -> Tensor:
    """Pixels on which what was written is compared: uint8, (B, H, W, C), the same every time."""
    side, channels = source.preprocessing.image_size, source.preprocessing.channels
    generator = torch.Generator().manual_seed(0)
    return torch.randint(
        0, 256, (_BATCH, side, side, channels), dtype=torch.uint8, generator=generator
    )


def expected_outputs(source: ExportSource, pixels: Tensor) -> dict[str, Tensor]:
    """What the encoder itself gives: `pooled`, a map for each stage, `logits` of a head."""
    with torch.inference_mode():
        features = source.backbone(source.preprocessing(pixels))
        outputs = {"pooled": features.pooled, **features.stages}
        if source.head is not None:
            outputs["logits"] = source.head(features.pooled)
    return outputs


def output_names(source: ExportSource) -> list[str]:
    """What each output of the head stands for, in order; empty without a head.

    A binary task has one logit, of its second class; an ordinal one a logit for each "above".
    """
    if source.head is None:
        return []
    task = source.result["task"]
    classes = [str(name) for name in task["classes"]]
    match task["kind"]:
        case "binary":
            return classes[1:]
        case "ordinal":
            return [f"above {name}" for name in classes[:-1]]
        case _:
            return classes


def base_name(architecture: str) -> str:
    """The name in timm, without the tag of its weights."""
    return architecture.partition(".")[0]


def describe(source: ExportSource) -> dict[str, Any]:
    """What every export's config.json says."""
    names = output_names(source)
    return {
        "architecture": base_name(source.architecture),
        "num_classes": len(names),
        "num_features": source.backbone.embed_dim,
        **({"label_names": names} if names else {}),
        "medstrata": {
            "version": metadata.version("medstrata"),
            "arm": source.arm,
            "preprocessing": asdict(source.preprocessing),
            **({"task": source.result["task"]} if names else {}),
        },
    }
