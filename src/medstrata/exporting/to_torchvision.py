"""Weights for torchvision's own networks, without classifier."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from medstrata.exporting.source import Source, base_name, describe
from medstrata.exporting.target import (
    Loaded,
    input_words,
    load_strictly,
    save_config,
    save_weights,
)
from medstrata.runtime.errors import MedstrataError

_RESNETS = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "wide_resnet50_2",
    "wide_resnet101_2",
)
_DENSENETS = ("densenet121", "densenet161", "densenet169", "densenet201")


@dataclass(frozen=True)
class Torchvision:
    """Networks whose keys and outputs are the same in timm and torchvision: ResNet, DenseNet."""

    library: ClassVar[str] = "torchvision"
    consumer: ClassVar[str] = "torchvision"
    tolerance: ClassVar[float] = 1e-5
    takes_head: ClassVar[bool] = False

    def require(self, source: Source) -> None:
        """See `Target.require`."""
        if base_name(source.architecture) not in (*_RESNETS, *_DENSENETS):
            raise MedstrataError(
                f"torchvision has no network with the weights of timm's {source.architecture}; it "
                f"has {', '.join((*_RESNETS, *_DENSENETS))}. Choose --to timm, onnx or torch-export"
            )

    def write(self, source: Source, folder: Path) -> None:
        """See `Target.write`."""
        save_weights(source.backbone.model, folder)
        save_config(folder, describe(source))

    def load(self, source: Source, folder: Path, pixels: Tensor) -> Loaded:
        """See `Target.load`."""
        import torchvision

        model: Any = torchvision.models.get_model(base_name(source.architecture), weights=None)
        resnet = base_name(source.architecture) in _RESNETS
        setattr(model, "fc" if resnet else "classifier", nn.Identity())
        if source.preprocessing.channels != 3:
            first = _first_convolution(source)
            holder = model if resnet else model.features
            setattr(holder, "conv1" if resnet else "conv0", first)
        tensors, of = load_strictly(model, folder)
        with torch.inference_mode():
            return Loaded({"pooled": model.eval()(source.preprocessing(pixels))}, tensors, of)

    def snippet(self, source: Source) -> str:
        """See `Target.snippet`."""
        name = base_name(source.architecture)
        resnet = name in _RESNETS
        lines = [
            "import torch",
            "import torchvision",
            "from safetensors.torch import load_file",
            "",
            f"model = torchvision.models.{name}()",
            f"model.{'fc' if resnet else 'classifier'} = torch.nn.Identity()",
        ]
        if source.preprocessing.channels != 3:
            first = _first_convolution(source)
            lines.append(
                f"model.{'conv1' if resnet else 'features.conv0'} = torch.nn.Conv2d("
                f"{first.in_channels}, {first.out_channels}, 7, stride=2, padding=3, bias=False)"
            )
        lines += [
            'model.load_state_dict(load_file("model.safetensors"), strict=True)',
            f"features = model.eval()(images)  # images: {input_words(source)}",
        ]
        return "\n".join(lines) + "\n"


def _first_convolution(source: Source) -> nn.Conv2d:
    """The first layer for other than three channels, still without weights."""
    width = 96 if base_name(source.architecture) == "densenet161" else 64
    return nn.Conv2d(source.preprocessing.channels, width, 7, stride=2, padding=3, bias=False)
