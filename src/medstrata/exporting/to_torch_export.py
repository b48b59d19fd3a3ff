"""A program of torch.export (.pt2): PyTorch runs it without this package and without timm."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from medstrata.exporting.graph import deployed, graph_input, input_name
from medstrata.exporting.source import Source, describe
from medstrata.exporting.target import Loaded, result_name, save_config

_FILE = "model.pt2"


@dataclass(frozen=True, kw_only=True)
class Program:
    """One file with its weights inside; the batch is free, the image size is not.

    Attributes:
        stages: Whether the stage maps are outputs too.
        with_preprocessing: Whether it takes uint8 pixels and normalises them itself.
    """

    stages: bool = False
    with_preprocessing: bool = False
    library: ClassVar[str] = "pytorch"
    consumer: ClassVar[str] = "torch"
    tolerance: ClassVar[float] = 1e-5
    takes_head: ClassVar[bool] = True

    def require(self, source: Source) -> None:
        """See `Target.require`; any encoder can be traced."""

    def write(self, source: Source, folder: Path) -> None:
        """See `Target.write`."""
        graph = deployed(source, stages=self.stages, with_preprocessing=self.with_preprocessing)
        program = torch.export.export(
            graph.module, (graph.example,), dynamic_shapes=(graph.dynamic,)
        )
        # They would be pickled into the file, and nobody needs them.
        program.example_inputs = None
        for node in program.graph.nodes:
            # Where in which file of this machine it came from.
            node.meta.pop("stack_trace", None)
        torch.export.save(program, folder / _FILE)
        config = describe(source)
        config["program"] = {"input": graph.input, "outputs": list(graph.outputs)}
        save_config(folder, config)

    def load(self, source: Source, folder: Path, pixels: Tensor) -> Loaded:
        """See `Target.load`."""
        model = torch.export.load(folder / _FILE).module()
        given = pixels if self.with_preprocessing else source.preprocessing(pixels)
        with torch.inference_mode():
            return Loaded(model(given))

    def snippet(self, source: Source) -> str:
        """See `Target.snippet`."""
        name = input_name(with_preprocessing=self.with_preprocessing)
        output = "pooled" if source.head is None else "logits"
        words = graph_input(source, with_preprocessing=self.with_preprocessing)
        return (
            "import torch\n\n"
            f'model = torch.export.load("{_FILE}").module()\n'
            f'{result_name(source)} = model({name})["{output}"]  # {words}\n'
        )
