"""What every format of an export offers, and what plain weights have in common."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from safetensors.torch import load_file
from torch import Tensor, nn

from medstrata.exporting.source import ExportSource
from medstrata.runtime.files import save_tensors, write_text

WEIGHTS = "model.safetensors"


@dataclass(frozen=True)
class LoadedExport:
    """What a consumer gave after loading an export with its own function.

    Attributes:
        outputs: Some of `pooled`, `stage1`..., `logits`, on the fixed pixels.
        num_loaded: How many tensors it took from the file; None where it does not say.
        num_tensors: How many tensors the file holds.
    """

    outputs: Mapping[str, Tensor]
    num_loaded: int | None = None
    num_tensors: int = 0


class Target(Protocol):
    """A format, written and then loaded as its users load it.

    A target of another package is a class with these members, or an object of one:
    `--to mypackage.targets:MyTarget`. A dataclass with fields `stages` and `with_preprocessing`
    takes the options of these names.
    """

    @property
    def library(self) -> str:
        """What model cards call it."""

    @property
    def consumer(self) -> str:
        """The package that loads it; where it is not installed, nothing is compared."""

    @property
    def tolerance(self) -> float:
        """Largest difference that is granted, relative to the largest output or 1."""

    @property
    def takes_head(self) -> bool:
        """Whether the head of a fine-tuned run goes along."""

    def require(self, source: ExportSource) -> None:
        """Raise MedstrataError, before anything is written, where it has no counterpart there."""

    def write(self, source: ExportSource, folder: Path) -> None:
        """Write weights and config.json into an empty folder."""

    def load(self, source: ExportSource, folder: Path, pixels: Tensor) -> LoadedExport:
        """Load with the consumer's own function; run uint8 pixels (B, H, W, C) through it."""

    def snippet(self, source: ExportSource) -> str:
        """The same as lines of Python, run in the folder, for the model card."""


def save_weights(model: nn.Module, folder: Path) -> None:
    """Write the model's state dict, keys without prefix."""
    save_tensors(folder / WEIGHTS, model.state_dict())


def save_config(folder: Path, config: Mapping[str, Any]) -> None:
    """Write config.json."""
    write_text(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def load_strictly(model: nn.Module, folder: Path) -> tuple[int, int]:
    """Give a model the weights of an export, every key matched; returns tensors taken, of all."""
    state = load_file(folder / WEIGHTS)
    model.load_state_dict(state, strict=True)
    return len(model.state_dict()), len(state)


def input_comment(source: ExportSource) -> str:
    """The input as a comment of a snippet."""
    side, channels = source.preprocessing.image_size, source.preprocessing.channels
    return f"float32, (B, {channels}, {side}, {side}), normalised as below"


def output_variable(source: ExportSource) -> str:
    """What a snippet calls what the model gives."""
    return "features" if source.head is None else "logits"
