"""Weights for torchvision's own networks, without classifier.

Keys and outputs of its ResNets and DenseNets are the same as timm's.
"""

from typing import Any

from torch import nn

from medstrata.exporting.source import ExportSource, base_name
from medstrata.exporting.state_dict_target import StateDictTarget
from medstrata.exporting.target import Target

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


def _build(source: ExportSource) -> nn.Module:
    import torchvision

    model: Any = torchvision.models.get_model(base_name(source.architecture), weights=None)
    classifier, first = _layers(source)
    setattr(model, classifier, nn.Identity())
    if source.preprocessing.channels != 3:
        holder, _, name = first.rpartition(".")
        setattr(model.get_submodule(holder), name, _first_convolution(source))
    network: nn.Module = model
    return network


def _lines(source: ExportSource) -> str:
    classifier, name = _layers(source)
    lines = [
        "import torch",
        "import torchvision",
        "from safetensors.torch import load_file",
        "",
        f"model = torchvision.models.{base_name(source.architecture)}()",
        f"model.{classifier} = torch.nn.Identity()",
    ]
    if source.preprocessing.channels != 3:
        first = _first_convolution(source)
        lines.append(
            f"model.{name} = torch.nn.Conv2d("
            f"{first.in_channels}, {first.out_channels}, 7, stride=2, padding=3, bias=False)"
        )
    return "\n".join(lines) + "\n"


def _layers(source: ExportSource) -> tuple[str, str]:
    """What torchvision calls the classifier and the first layer."""
    if base_name(source.architecture) in _RESNETS:
        return "fc", "conv1"
    return "classifier", "features.conv0"


def _first_convolution(source: ExportSource) -> nn.Conv2d:
    """The first layer for other than three channels, still without weights."""
    width = 96 if base_name(source.architecture) == "densenet161" else 64
    return nn.Conv2d(source.preprocessing.channels, width, 7, stride=2, padding=3, bias=False)


TARGET: Target = StateDictTarget(
    library="torchvision",
    title="torchvision",
    networks=(*_RESNETS, *_DENSENETS),
    build=_build,
    lines=_lines,
)
