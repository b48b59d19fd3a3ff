"""An export is loaded by its consumer through the lines of its own model card."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import medstrata as ms
from medstrata.exporting.source import expected_outputs, open_source
from medstrata.runtime.errors import MedstrataError
from support.exported_runs import SIZE, tuned_run

OTHER_NETWORKS = (
    "vit_tiny_patch16_224",
    "convnext_atto",
    "swin_tiny_patch4_window7_224",
    "mobilenetv3_small_050",
)


def check_export(
    run: Path, to: str, out: Path, patch: pytest.MonkeyPatch, **options: Any
) -> Tensor:
    """Export, load by the card, compare with the encoder; returns what the consumer gave."""
    folder = ms.export(run, to, out, ms.ExportSettings(**options))
    _tells_nothing_of_this_machine(folder, run)
    source = open_source(run, head=to not in ("torchvision", "monai"))
    pixels = _other_pixels(source.preprocessing.channels)
    raw = options.get("with_preprocessing", False)
    given = _by_card(folder, pixels if raw else source.preprocessing(pixels), patch)
    name = "pooled" if source.head is None else "logits"
    expected = expected_outputs(source, pixels)[name]
    assert expected.abs().max() > 1e-3  # or anything would be near it
    torch.testing.assert_close(given, expected, atol=1e-4 if to == "onnx" else 1e-5, rtol=1e-5)
    return given


def check_graph(run: Path, to: str, key: str, out: Path, patch: pytest.MonkeyPatch) -> None:
    """A graph from pixels to logits and stages says what it takes and gives, as `check_export`."""
    check_export(run, to, out, patch, stages=True, with_preprocessing=True)
    assert json.loads((out / "config.json").read_text())[key] == {
        "input": "pixels",
        "outputs": ["logits", "pooled", "stage1", "stage2", "stage3", "stage4"],
    }


def refused_export(run: Path, to: str, tmp_path: Path, match: str) -> None:
    """An export is refused in one line, and leaves nothing in the folder around it."""
    before = {path for path in tmp_path.rglob("*") if run not in path.parents}
    with pytest.raises(MedstrataError, match=match) as caught:
        ms.export(run, to, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert {path for path in tmp_path.rglob("*") if run not in path.parents} == before


def check_other_network(
    architecture: str, to: str, folder: Path, patch: pytest.MonkeyPatch
) -> None:
    """Export a tuned run of three classes of one of `OTHER_NETWORKS`, as `check_export`."""
    task = {"name": "organ", "kind": "multiclass", "classes": ["lung", "liver", "other"]}
    run = tuned_run(
        folder / "run", architecture, encoder="scratch", channels=3, task=task, outputs=3
    )
    check_export(run, to, folder / to, patch)


def _by_card(folder: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the lines of a model card in its folder; returns `features` or `logits`."""
    (lines,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    given = images.numpy() if "onnxruntime" in lines else images
    names = {"images": given, "pixels": given}
    monkeypatch.chdir(folder)
    with torch.inference_mode():
        exec(compile(lines, "README.md", "exec"), names)  # noqa: S102
    return torch.as_tensor(names.get("features", names.get("logits")))


def _other_pixels(channels: int) -> Tensor:
    """Five images: neither those nor the batch that an export itself compares."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (5, SIZE, SIZE, channels), dtype=torch.uint8, generator=generator)


def _tells_nothing_of_this_machine(folder: Path, run: Path) -> None:
    """No file of an export holds a place on the disk it was made on."""
    places = [str(Path(ms.__file__).parent), str(run.parent), "site-packages", "/home/", "jane"]
    for file in folder.iterdir():
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        for content in contents:
            assert not [place for place in places if place.encode() in content], file.name
