"""A program of torch.export (.pt2): PyTorch runs it without this package and without timm."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medstrata.exporting.graph_target import ExportGraph, GraphTarget
from medstrata.exporting.target import Target


def _save(
    graph: ExportGraph, example: Tensor, batch: dict[int, Any], _input_name: str, path: Path
) -> None:
    program = torch.export.export(graph, (example,), dynamic_shapes=(batch,))
    # They would be pickled into the file, and nobody needs them.
    program.example_inputs = None
    for node in program.graph.nodes:
        # Where in which file of this machine it came from.
        node.meta.pop("stack_trace", None)
    torch.export.save(program, path)


def _run(path: Path, _input_name: str, example: Tensor) -> Mapping[str, Tensor]:
    model = torch.export.load(path).module()
    with torch.inference_mode():
        outputs: Mapping[str, Tensor] = model(example)
    return outputs


TARGET: Target = GraphTarget(
    library="pytorch",
    consumer="torch",
    tolerance=1e-5,
    file="model.pt2",
    key="program",
    save=_save,
    run=_run,
    lines=(
        "import torch\n\n"
        'model = torch.export.load("{file}").module()\n'
        '{result} = model({input})["{output}"]  # {words}\n'
    ),
)
