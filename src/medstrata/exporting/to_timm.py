"""A folder that timm loads: `timm.create_model("local-dir:FOLDER", pretrained=True)`."""

from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from medstrata.exporting.source import ExportSource, base_name, describe
from medstrata.exporting.target import (
    WEIGHTS,
    LoadedExport,
    Target,
    input_comment,
    output_variable,
    save_config,
    save_weights,
)
from medstrata.runtime.errors import MedstrataError


class Timm:
    """timm's own model, with its classifier where there is a head."""

    library = "timm"
    consumer = "timm"
    tolerance = 1e-5
    takes_head = True

    def require(self, source: ExportSource) -> None:
        """See `Target.require`."""
        whole_model(source)

    def write(self, source: ExportSource, folder: Path) -> None:
        """See `Target.write`."""
        model = whole_model(source)
        options = source.preprocessing
        config = describe(source)
        arguments: dict[str, Any] = {"in_chans": options.channels}
        if model.default_cfg.get("fixed_input_size"):
            arguments["img_size"] = options.image_size
        save_weights(model, folder)
        save_config(
            folder,
            {
                **config,
                "model_args": arguments,
                "pretrained_cfg": {
                    "custom_load": False,
                    "input_size": [options.channels, options.image_size, options.image_size],
                    "fixed_input_size": bool(model.default_cfg.get("fixed_input_size")),
                    "interpolation": "bilinear",
                    # Whole images. timm's borders have the mean colour and `prepare`'s are
                    # black, so the card asks for squares, which get none.
                    "crop_pct": 1.0,
                    "crop_mode": "border",
                    "mean": list(options.mean),
                    "std": list(options.std),
                    "num_classes": config["num_classes"],
                    "pool_size": None,
                    "first_conv": model.default_cfg.get("first_conv"),
                    "classifier": model.default_cfg.get("classifier"),
                },
            },
        )

    def load(self, source: ExportSource, folder: Path, pixels: Tensor) -> LoadedExport:
        """See `Target.load`."""
        model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        with torch.inference_mode():
            output = model(source.preprocessing(pixels))
        name = "pooled" if source.head is None else "logits"
        return LoadedExport(
            {name: output}, len(model.state_dict()), len(load_file(folder / WEIGHTS))
        )

    def snippet(self, source: ExportSource) -> str:
        """See `Target.snippet`."""
        return (
            "import timm\n\n"
            'model = timm.create_model("local-dir:.", pretrained=True).eval()  # this folder\n'
            f"{output_variable(source)} = model(images)  # images: {input_comment(source)}\n"
        )


TARGET: Target = Timm()


def whole_model(source: ExportSource) -> Any:
    """The model of timm with the head as its classifier; the bare one without a head.

    Raises:
        MedstrataError: timm's classifier of this network is no linear layer on pooled features.
    """
    if source.head is None:
        return source.backbone.model
    head = {name: value.detach() for name, value in source.head.named_parameters()}
    options: dict[str, Any] = {}
    if source.backbone.model.default_cfg.get("fixed_input_size"):
        options["img_size"] = source.preprocessing.image_size
    model: Any = timm.create_model(
        base_name(source.architecture),
        num_classes=source.head.out_features,
        in_chans=source.preprocessing.channels,
        **options,
    )
    state = source.backbone.model.state_dict()
    names = [key for key in model.state_dict() if key not in state]
    classifier = model.get_classifier()
    fits = (
        isinstance(classifier, nn.Linear)
        and classifier.weight.shape == source.head.weight.shape
        and len(names) == len(head)
    )
    if not fits:
        raise MedstrataError(
            f"timm's {source.architecture} has no plain linear classifier to hold the head; "
            "export its backbone alone with --no-head"
        )
    model.load_state_dict(
        state | {name: head[name.rpartition(".")[2]] for name in names}, strict=True
    )
    return model.eval()
