"""An encoder as one graph: from images, or from pixels, to named outputs."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medstrata.exporting.source import Source, fixed_pixels

_TRACED = 2  # images a batch when tracing; not 1, which would be taken for a constant


@dataclass(frozen=True)
class Deployed:
    """A module to be traced, an example of its input, and what to call both ends."""

    module: nn.Module
    example: Tensor
    input: str
    outputs: tuple[str, ...]
    dynamic: dict[int, Any]  # the batch


class _Graph(nn.Module):
    """Logits where there is a head, pooled features, and stage maps where wanted."""

    def __init__(self, source: Source, *, stages: bool, with_preprocessing: bool) -> None:
        super().__init__()
        self.backbone, self.head = source.backbone, source.head
        self.stages = stages
        self.preprocessing = source.preprocessing if with_preprocessing else None

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs by name."""
        if self.preprocessing is not None:
            images = self.preprocessing(images)
        features = self.backbone(images)
        outputs = {} if self.head is None else {"logits": self.head(features.pooled)}
        outputs["pooled"] = features.pooled
        return outputs | (features.stages if self.stages else {})


def deployed(source: Source, *, stages: bool, with_preprocessing: bool) -> Deployed:
    """Make the module for tracing.

    Args:
        source: The encoder.
        stages: Whether the stage maps are outputs too.
        with_preprocessing: Whether the graph takes uint8 pixels (B, H, W, C) named `pixels` and
            normalises them, instead of normalised float32 `images`, (B, C, H, W).
    """
    pixels = fixed_pixels(source)[:_TRACED]
    module = _Graph(source, stages=stages, with_preprocessing=with_preprocessing).eval()
    example = pixels if with_preprocessing else source.preprocessing(pixels)
    names = ["logits"] if source.head is not None else []
    names += ["pooled", *(source.backbone.taps if stages else ())]
    return Deployed(
        module,
        example,
        input_name(with_preprocessing=with_preprocessing),
        tuple(names),
        {0: torch.export.Dim("batch")},
    )


def input_name(*, with_preprocessing: bool) -> str:
    """What a graph calls its input."""
    return "pixels" if with_preprocessing else "images"


def graph_input(source: Source, *, with_preprocessing: bool) -> str:
    """The input of a graph as a comment of a snippet."""
    side, channels = source.preprocessing.image_size, source.preprocessing.channels
    if with_preprocessing:
        return f"pixels: uint8, (B, {side}, {side}, {channels}), as the image file has them"
    return f"images: float32, (B, {channels}, {side}, {side}), normalised as below"
