"""An encoder as one graph in one file: from images, or from pixels, to named outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medstrata.exporting.source import ExportSource, describe, fixed_pixels
from medstrata.exporting.target import LoadedExport, output_variable, save_config
from medstrata.runtime.errors import MedstrataError, is_out_of_memory, one_line
from medstrata.runtime.optional import require_optional

_TRACED = 2  # images a batch when tracing; not 1, which would be taken for a constant


class ExportGraph(nn.Module):
    """Logits where there is a head, pooled features, and stage maps where wanted."""

    def __init__(self, source: ExportSource, *, stages: bool, with_preprocessing: bool) -> None:
        super().__init__()
        self.backbone, self.head = source.backbone, source.head
        self.stages = stages
        self.preprocessing = source.preprocessing if with_preprocessing else None

    @property
    def outputs(self) -> list[str]:
        """Names of what it gives, in order."""
        names = [] if self.head is None else ["logits"]
        return [*names, "pooled", *(self.backbone.taps if self.stages else ())]

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs by name."""
        if self.preprocessing is not None:
            images = self.preprocessing(images)
        features = self.backbone(images)
        outputs = {} if self.head is None else {"logits": self.head(features.pooled)}
        outputs["pooled"] = features.pooled
        return outputs | (features.stages if self.stages else {})


@dataclass(frozen=True, kw_only=True)
class GraphTarget:
    """One file with its weights inside; the batch is free, the image size is not.

    Attributes:
        library: As in `Target`.
        consumer: As in `Target`.
        tolerance: As in `Target`.
        file: Name of the file.
        key: Where config.json says what the graph takes and gives.
        needs: Packages that writing takes.
        save: Traces a graph on an example whose batch is free, and writes it; the text is what the
            graph is to call its input.
        run: Loads the file and runs it on an input of that name.
        lines: Python that does the same; `{file}`, `{input}`, `{output}`, `{result}` and `{words}`
            (what the input is) are filled in.
        stages: Whether the stage maps are outputs too.
        with_preprocessing: Whether it takes uint8 pixels (B, H, W, C) named `pixels` and normalises
            them, instead of normalised float32 `images`, (B, C, H, W).
        takes_head: As in `Target`.
    """

    library: str
    consumer: str
    tolerance: float
    file: str
    key: str
    needs: tuple[str, ...] = ()
    save: Callable[[ExportGraph, Tensor, dict[int, Any], str, Path], None]
    run: Callable[[Path, str, Tensor], Mapping[str, Tensor]]
    lines: str
    stages: bool = False
    with_preprocessing: bool = False
    takes_head: bool = True

    @property
    def _input(self) -> str:
        return "pixels" if self.with_preprocessing else "images"

    def require(self, source: ExportSource) -> None:  # noqa: ARG002  (any encoder can be traced)
        """See `Target.require`."""
        require_optional(self.needs, f"writing {self.library.upper()}", self.library)

    def write(self, source: ExportSource, folder: Path) -> None:
        """See `Target.write`."""
        graph = ExportGraph(
            source, stages=self.stages, with_preprocessing=self.with_preprocessing
        ).eval()
        example = self._given(source, fixed_pixels(source)[:_TRACED])
        batch = {0: torch.export.Dim("batch")}
        try:
            self.save(graph, example, batch, self._input, folder / self.file)
        except Exception as error:  # what PyTorch raises of a network that it cannot write is open
            if isinstance(error, MedstrataError | OSError) or is_out_of_memory(error):
                raise
            cause = one_line(error.__cause__ or error, named=True, limit=150)
            raise MedstrataError(
                f"PyTorch cannot write {source.architecture} as a graph for {self.library} "
                f"({cause}); export it --to timm"
            ) from error
        ends = {"input": self._input, "outputs": graph.outputs}
        save_config(folder, {**describe(source), self.key: ends})

    def load(self, source: ExportSource, folder: Path, pixels: Tensor) -> LoadedExport:
        """See `Target.load`."""
        return LoadedExport(self.run(folder / self.file, self._input, self._given(source, pixels)))

    def snippet(self, source: ExportSource) -> str:
        """See `Target.snippet`."""
        side, channels = source.preprocessing.image_size, source.preprocessing.channels
        words = (
            f"pixels: uint8, (B, {side}, {side}, {channels}), as the image file has them"
            if self.with_preprocessing
            else f"images: float32, (B, {channels}, {side}, {side}), normalised as below"
        )
        return self.lines.format(
            file=self.file,
            input=self._input,
            output="pooled" if source.head is None else "logits",
            result=output_variable(source),
            words=words,
        )

    def _given(self, source: ExportSource, pixels: Tensor) -> Tensor:
        return pixels if self.with_preprocessing else source.preprocessing(pixels)
