"""The targets of an export by name, without a heavy import."""

from typing import Literal, get_args

TargetName = Literal["timm", "torchvision", "huggingface", "monai", "onnx", "torch-export"]
TARGETS: tuple[TargetName, ...] = get_args(TargetName)
GRAPHS: tuple[TargetName, ...] = ("onnx", "torch-export")
