"""Weights for MONAI's two-dimensional ResNets, without classifier."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from medstrata.exporting.source import Source, base_name, describe
from medstrata.exporting.target import (
    Loaded,
    input_words,
    load_strictly,
    save_config,
    save_weights,
)
from medstrata.runtime.errors import MedstrataError

_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")


@dataclass(frozen=True)
class Monai:
    """MONAI's ResNet with the stem and the shortcuts of He et al. 2016, which it has as options.

    Its own defaults differ: a first convolution of stride 1, and shortcuts with a bias.
    """

    library: ClassVar[str] = "monai"
    consumer: ClassVar[str] = "monai"
    tolerance: ClassVar[float] = 1e-5
    takes_head: ClassVar[bool] = False

    def require(self, source: Source) -> None:
        """See `Target.require`."""
        if base_name(source.architecture) not in _RESNETS:
            raise MedstrataError(
                f"MONAI has no network with the weights of timm's {source.architecture}; it has "
                f"{', '.join(_RESNETS)}. Choose --to timm, onnx or torch-export"
            )

    def write(self, source: Source, folder: Path) -> None:
        """See `Target.write`."""
        save_weights(source.backbone.model, folder)
        save_config(folder, describe(source))

    def load(self, source: Source, folder: Path, pixels: Tensor) -> Loaded:
        """See `Target.load`."""
        from monai.networks import nets

        build: Any = getattr(nets, base_name(source.architecture))
        model = build(
            spatial_dims=2,
            n_input_channels=source.preprocessing.channels,
            conv1_t_stride=2,
            shortcut_type="B",
            bias_downsample=False,
            feed_forward=False,
        )
        tensors, of = load_strictly(model, folder)
        with torch.inference_mode():
            return Loaded({"pooled": model.eval()(source.preprocessing(pixels))}, tensors, of)

    def snippet(self, source: Source) -> str:
        """See `Target.snippet`."""
        name = base_name(source.architecture)
        return (
            f"from monai.networks.nets import {name}\n"
            "from safetensors.torch import load_file\n\n"
            f"model = {name}(\n"
            f"    spatial_dims=2, n_input_channels={source.preprocessing.channels},\n"
            "    # MONAI's defaults are another stem and other shortcuts.\n"
            '    conv1_t_stride=2, shortcut_type="B", bias_downsample=False, feed_forward=False,\n'
            ")\n"
            'model.load_state_dict(load_file("model.safetensors"), strict=True)\n'
            f"features = model.eval()(images)  # images: {input_words(source)}\n"
        )
