"""An ONNX graph, for onnxruntime and what else reads ONNX."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from medstrata.exporting.graph import deployed, graph_input, input_name
from medstrata.exporting.source import Source, describe
from medstrata.exporting.target import Loaded, result_name, save_config
from medstrata.runtime.errors import MedstrataError

_FILE = "model.onnx"


@dataclass(frozen=True, kw_only=True)
class Onnx:
    """One file with its weights inside; the batch is free, the image size is not.

    Attributes:
        stages: Whether the stage maps are outputs too.
        with_preprocessing: Whether it takes uint8 pixels and normalises them itself.
    """

    stages: bool = False
    with_preprocessing: bool = False
    library: ClassVar[str] = "onnx"
    consumer: ClassVar[str] = "onnxruntime"
    tolerance: ClassVar[float] = 1e-4
    takes_head: ClassVar[bool] = True

    def require(self, source: Source) -> None:  # noqa: ARG002  (any encoder can be traced)
        """See `Target.require`."""
        absent = [name for name in ("onnx", "onnxscript") if find_spec(name) is None]
        if absent:
            raise MedstrataError(
                f"writing ONNX needs {' and '.join(absent)}: pip install 'medstrata[onnx]'"
            )

    def write(self, source: Source, folder: Path) -> None:
        """See `Target.write`."""
        graph = deployed(source, stages=self.stages, with_preprocessing=self.with_preprocessing)
        program = torch.onnx.export(
            graph.module,
            (graph.example,),
            input_names=[graph.input],
            output_names=list(graph.outputs),
            dynamic_shapes=(graph.dynamic,),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        for node in program.model.graph.all_nodes():
            # Each node remembers where in which file of this machine it came from.
            node.metadata_props.clear()
        program.save(folder / _FILE, external_data=False)
        config = describe(source)
        config["onnx"] = {"input": graph.input, "outputs": list(graph.outputs)}
        save_config(folder, config)

    def load(self, source: Source, folder: Path, pixels: Tensor) -> Loaded:
        """See `Target.load`."""
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / _FILE, providers=["CPUExecutionProvider"])
        given = pixels if self.with_preprocessing else source.preprocessing(pixels)
        name = input_name(with_preprocessing=self.with_preprocessing)
        outputs = session.run(None, {name: given.numpy()})
        names = [output.name for output in session.get_outputs()]
        return Loaded(dict(zip(names, map(torch.from_numpy, outputs), strict=True)))

    def snippet(self, source: Source) -> str:
        """See `Target.snippet`."""
        name = input_name(with_preprocessing=self.with_preprocessing)
        output = "pooled" if source.head is None else "logits"
        words = graph_input(source, with_preprocessing=self.with_preprocessing)
        return (
            "import onnxruntime\n\n"
            f'session = onnxruntime.InferenceSession("{_FILE}", '
            'providers=["CPUExecutionProvider"])\n'
            f'({result_name(source)},) = session.run(["{output}"], {{"{name}": {name}}})'
            f"  # {words}, as NumPy array\n"
        )
