"""Which timm model a state looks like, from its names and shapes alone."""

import math
import re
from collections.abc import Mapping

from torch import Tensor

_BASIC: Mapping[tuple[int, ...], str] = {
    (1, 1, 1, 1): "resnet10t",
    (2, 2, 2, 2): "resnet18",
    (3, 4, 6, 3): "resnet34",
}
_BOTTLENECK: Mapping[tuple[int, ...], str] = {
    (2, 2, 2, 2): "resnet26",
    (3, 4, 6, 3): "resnet50",
    (3, 4, 23, 3): "resnet101",
    (3, 8, 36, 3): "resnet152",
}
_DENSE: Mapping[tuple[int, ...], str] = {
    (6, 12, 24, 16): "121",
    (6, 12, 36, 24): "161",
    (6, 12, 32, 32): "169",
    (6, 12, 48, 32): "201",
}
_WIDTHS = {192: "tiny", 384: "small", 768: "base", 1024: "large", 1280: "huge"}
_CONVNEXT: Mapping[tuple[tuple[int, ...], int], str] = {
    ((2, 2, 6, 2), 40): "atto",
    ((2, 2, 6, 2), 48): "femto",
    ((2, 2, 6, 2), 64): "pico",
    ((2, 2, 8, 2), 80): "nano",
    ((3, 3, 9, 3), 96): "tiny",
    ((3, 3, 27, 3), 96): "small",
    ((3, 3, 27, 3), 128): "base",
    ((3, 3, 27, 3), 192): "large",
}


def guess_architecture(state: Mapping[str, Tensor]) -> str | None:
    """Name the architecture, for a message; None where it is not recognised."""
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if any(len(shape) == 5 for shape in shapes.values()):
        return "a 3D network"
    name = _resnet(shapes) or _transformer(shapes) or _densenet(shapes) or _convnext(shapes)
    return name and f"a {name}"


Shapes = Mapping[str, tuple[int, ...]]


def _counts(shapes: Shapes, pattern: str) -> tuple[int, ...]:
    """How many blocks each stage has; the pattern gives stage and block."""
    blocks = {(int(m[1]), int(m[2])) for name in shapes if (m := re.match(pattern, name))}
    stages = sorted({stage for stage, _ in blocks})
    return tuple(sum(one == stage for one, _ in blocks) for stage in stages)


def _resnet(shapes: Shapes) -> str | None:
    depths = _counts(shapes, r"layer(\d)\.(\d+)\.conv1\.weight")
    if "layer1.0.conv3.weight" not in shapes:
        return _BASIC.get(depths)
    name, middle = _BOTTLENECK.get(depths), shapes.get("layer1.0.conv2.weight", (0, 0))
    if name is None or middle[:2] == (64, 64):
        return name
    depth = name.removeprefix("resnet")
    if middle[0] == middle[1]:
        return f"wide_resnet{depth}_{middle[0] // 64}"
    return f"resnext{depth}_32x{middle[1]}d"


def _transformer(shapes: Shapes) -> str | None:
    patch = shapes.get("patch_embed.proj.weight", ())
    if len(patch) != 4 or "blocks.0.attn.qkv.weight" not in shapes:
        return None
    size, positions = _WIDTHS.get(patch[0]), shapes.get("pos_embed", (1, 0, 0))[1]
    side = math.isqrt(positions) * patch[2]
    return size and f"vit_{size}_patch{patch[2]}_{side}"


def _densenet(shapes: Shapes) -> str | None:
    depths = _counts(shapes, r"features\.denseblock(\d)\.denselayer(\d+)\.")
    return f"densenet{_DENSE[depths]}" if depths in _DENSE else None


def _convnext(shapes: Shapes) -> str | None:
    depths = _counts(shapes, r"stages\.(\d)\.blocks\.(\d+)\.conv_dw\.weight")
    width = shapes.get("stem.0.weight", (0,))[0]
    size = _CONVNEXT.get((depths, width))
    return size and f"convnext_{size}"
