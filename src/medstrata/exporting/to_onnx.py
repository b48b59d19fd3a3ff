"""An ONNX graph, for onnxruntime and what else reads ONNX."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medstrata.exporting.graph_target import ExportGraph, GraphTarget
from medstrata.exporting.target import Target


def _save(
    graph: ExportGraph, example: Tensor, batch: dict[int, Any], input_name: str, path: Path
) -> None:
    part: Any
    for part in graph.modules():
        if getattr(part, "fused_attn", False):  # of timm's; of NesT PyTorch can write no fused one
            part.fused_attn = False
    program = torch.onnx.export(
        graph,
        (example,),
        input_names=[input_name],
        output_names=graph.outputs,
        dynamic_shapes=(batch,),
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        # Each node remembers where in which file of this machine it came from.
        node.metadata_props.clear()
    program.save(path, external_data=False)


def _run(path: Path, input_name: str, example: Tensor) -> Mapping[str, Tensor]:
    # Read as it is imported; later it has sent a look-up and written a device's number already.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, {input_name: example.numpy()})
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, outputs), strict=True))


TARGET: Target = GraphTarget(
    library="onnx",
    consumer="onnxruntime",
    tolerance=1e-4,
    file="model.onnx",
    key="onnx",
    needs=("onnx", "onnxscript"),
    save=_save,
    run=_run,
    lines=(
        "import onnxruntime\n\n"
        'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])\n'
        '({result},) = session.run(["{output}"], {{"{input}": {input}}})'
        "  # {words}, as NumPy array\n"
    ),
)
