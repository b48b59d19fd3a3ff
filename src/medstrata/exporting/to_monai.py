"""Weights for MONAI's two-dimensional ResNets, without classifier.

They have the stem and the shortcuts of He et al. 2016 as options; MONAI's own defaults are a first
convolution of stride 1, and shortcuts with a bias.
"""

from typing import Any

from torch import nn

from medstrata.exporting.source import ExportSource, base_name
from medstrata.exporting.state_dict_target import StateDictTarget
from medstrata.exporting.target import Target


def _build(source: ExportSource) -> nn.Module:
    from monai.networks import nets

    build: Any = getattr(nets, base_name(source.architecture))
    model: nn.Module = build(
        spatial_dims=2,
        n_input_channels=source.preprocessing.channels,
        conv1_t_stride=2,
        shortcut_type="B",
        bias_downsample=False,
        feed_forward=False,
    )
    return model


def _lines(source: ExportSource) -> str:
    name = base_name(source.architecture)
    return (
        f"from monai.networks.nets import {name}\n"
        "from safetensors.torch import load_file\n\n"
        f"model = {name}(\n"
        f"    spatial_dims=2, n_input_channels={source.preprocessing.channels},\n"
        "    # MONAI's defaults are another stem and other shortcuts.\n"
        '    conv1_t_stride=2, shortcut_type="B", bias_downsample=False, feed_forward=False,\n'
        ")\n"
    )


TARGET: Target = StateDictTarget(
    library="monai",
    title="MONAI",
    networks=("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    build=_build,
    lines=_lines,
)
