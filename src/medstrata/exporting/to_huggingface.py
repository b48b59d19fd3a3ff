"""A folder as the Hugging Face hub holds timm models; transformers loads it by its timm wrapper."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medstrata.exporting.source import ExportSource
from medstrata.exporting.target import LoadedExport, Target, input_comment, save_config
from medstrata.exporting.to_timm import Timm
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError

# What transformers needs to know to train such a head on.
_PROBLEMS = {
    "binary": "multi_label_classification",
    "ordinal": "multi_label_classification",
    "multilabel": "multi_label_classification",
    "multiclass": "single_label_classification",
}


class HuggingFace:
    """timm's folder, loaded by `AutoModel` or `AutoModelForImageClassification`."""

    library = "timm"
    consumer = "transformers"
    tolerance = 1e-5
    takes_head = True

    def require(self, source: ExportSource) -> None:
        """See `Target.require`."""
        Timm().require(source)

    def write(self, source: ExportSource, folder: Path) -> None:
        """See `Target.write`."""
        Timm().write(source, folder)
        if source.head is not None:
            config = read_json(folder / "config.json")
            config["problem_type"] = _PROBLEMS[source.result["task"]["kind"]]
            save_config(folder, config)

    def load(self, source: ExportSource, folder: Path, pixels: Tensor) -> LoadedExport:
        """See `Target.load`."""
        from transformers import AutoModel, AutoModelForImageClassification

        chosen: Any = AutoModel if source.head is None else AutoModelForImageClassification
        with _no_progress_bar():
            model, info = chosen.from_pretrained(
                folder, local_files_only=True, output_loading_info=True
            )
        unmatched = [*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]]
        if unmatched:
            raise MedstrataError(
                f"transformers does not match {len(unmatched)} keys: {unmatched[:3]}"
            )
        with torch.inference_mode():
            output = model.eval()(source.preprocessing(pixels))
        outputs = (
            {"pooled": output.pooler_output} if source.head is None else {"logits": output.logits}
        )
        tensors = len(model.state_dict())
        return LoadedExport(outputs, tensors, tensors)

    def snippet(self, source: ExportSource) -> str:
        """See `Target.snippet`."""
        name, line = (
            ("AutoModel", "features = model(images).pooler_output")
            if source.head is None
            else ("AutoModelForImageClassification", "logits = model(images).logits")
        )
        return (
            f"from transformers import {name}\n\n"
            f'model = {name}.from_pretrained("./").eval()  # this folder, or its name on the hub\n'
            f"{line}  # images: {input_comment(source)}\n"
        )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers' progress bars off; afterwards they are as they were."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


TARGET: Target = HuggingFace()
