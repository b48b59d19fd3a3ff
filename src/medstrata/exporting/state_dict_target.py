"""Networks that another library has too, with the same keys: their weights alone, no classifier."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from medstrata.exporting.source import ExportSource, base_name, describe
from medstrata.exporting.target import (
    LoadedExport,
    input_comment,
    load_strictly,
    save_config,
    save_weights,
)
from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True, kw_only=True)
class StateDictTarget:
    """A library whose own networks take the encoder's weights and give its pooled features.

    Attributes:
        library: The package.
        title: The library as a sentence names it.
        networks: timm's names of those it has.
        build: Makes the library's network for an encoder, without classifier.
        lines: The same as lines of Python, up to where weights are loaded.
        tolerance: As in `Target`.
        takes_head: As in `Target`.
    """

    library: str
    title: str
    networks: tuple[str, ...]
    build: Callable[[ExportSource], nn.Module]
    lines: Callable[[ExportSource], str]
    tolerance: float = 1e-5
    takes_head: bool = False

    @property
    def consumer(self) -> str:
        """See `Target.consumer`."""
        return self.library

    def require(self, source: ExportSource) -> None:
        """See `Target.require`."""
        if base_name(source.architecture) not in self.networks:
            raise MedstrataError(
                f"{self.title} has no network with the weights of timm's {source.architecture}; it "
                f"has {', '.join(self.networks)}. Choose --to timm, onnx or torch-export"
            )

    def write(self, source: ExportSource, folder: Path) -> None:
        """See `Target.write`."""
        save_weights(source.backbone.model, folder)
        save_config(folder, describe(source))

    def load(self, source: ExportSource, folder: Path, pixels: Tensor) -> LoadedExport:
        """See `Target.load`."""
        model = self.build(source)
        tensors, of = load_strictly(model, folder)
        with torch.inference_mode():
            return LoadedExport({"pooled": model.eval()(source.preprocessing(pixels))}, tensors, of)

    def snippet(self, source: ExportSource) -> str:
        """See `Target.snippet`."""
        return (
            f"{self.lines(source)}"
            'model.load_state_dict(load_file("model.safetensors"), strict=True)\n'
            f"features = model.eval()(images)  # images: {input_comment(source)}\n"
        )
