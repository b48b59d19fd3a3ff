"""Each export is loaded by its consumer through the lines of its own model card."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import medstrata as ms
from medstrata.data.store.store import Store
from medstrata.exporting.source import expected_outputs, open_source
from support.exported_runs import SIZE, preprocessing_of, pretrained_run, tuned_run

GRAPHS = ("onnx", "torch-export")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`grey` (resnet18, one channel), and `small` (resnet10t, three); each also `-tuned`."""
    folder = tmp_path_factory.mktemp("runs")
    pretrained_run(folder / "grey", "resnet18")
    tuned_run(folder / "grey-tuned", "resnet18", encoder="../grey")
    pretrained_run(folder / "small", "resnet10t", channels=3)
    tuned_run(folder / "small-tuned", "resnet10t", encoder="../small", channels=3)
    return folder


def by_card(folder: Path, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the lines of a model card in its folder; returns `features` or `logits`."""
    (lines,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    given = images.numpy() if "onnxruntime" in lines else images
    names = {"images": given, "pixels": given}
    monkeypatch.chdir(folder)
    with torch.inference_mode():
        exec(compile(lines, "README.md", "exec"), names)  # noqa: S102
    return torch.as_tensor(names.get("features", names.get("logits")))


def other_pixels(channels: int) -> Tensor:
    """Five images: neither those nor the batch that an export itself compares."""
    generator = torch.Generator().manual_seed(5)
    return torch.randint(0, 256, (5, SIZE, SIZE, channels), dtype=torch.uint8, generator=generator)


def tells_nothing_of_this_machine(folder: Path, run: Path) -> None:
    """No file of an export holds a place on the disk it was made on."""
    places = [str(Path(ms.__file__).parent), str(run.parent), "site-packages", "/home/", "jane"]
    for file in folder.iterdir():
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents = [archive.read(name) for name in archive.namelist()]
        for content in contents:
            assert not [place for place in places if place.encode() in content], file.name


def check(run: Path, to: str, out: Path, patch: pytest.MonkeyPatch, **options: Any) -> Tensor:
    """Export, load by the card, compare with the encoder; returns what the consumer gave."""
    folder = ms.export(run, to, out, ms.ExportSettings(**options))
    tells_nothing_of_this_machine(folder, run)
    source = open_source(run, head=to not in ("torchvision", "monai"))
    pixels = other_pixels(source.preprocessing.channels)
    raw = options.get("with_preprocessing", False)
    given = by_card(folder, pixels if raw else source.preprocessing(pixels), patch)
    name = "pooled" if source.head is None else "logits"
    expected = expected_outputs(source, pixels)[name]
    assert expected.abs().max() > 1e-3  # or anything would be near it
    torch.testing.assert_close(given, expected, atol=1e-4 if to == "onnx" else 1e-5, rtol=1e-5)
    return given


@pytest.mark.parametrize("to", ["timm", "torchvision", "huggingface", "monai"])
def test_backbone_loads_by_its_card(
    runs: Path, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check(runs / "grey", to, tmp_path / to, monkeypatch).shape == (5, 512)


@pytest.mark.parametrize("to", ["timm", "huggingface", "torchvision"])
def test_tuned_run_loads_by_its_card(
    runs: Path, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = 512 if to == "torchvision" else 1
    assert check(runs / "grey-tuned", to, tmp_path / to, monkeypatch).shape == (5, outputs)


def test_runs_as_training_leaves_them(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ms.recipe("fair/moco_mse", backbone="resnet10t", epochs=1, batch_size=16, seed=0)
    run = ms.pretrain(tiny_store, settings, tmp_path / "pre")
    tuned = ms.finetune(
        str(run),
        tiny_store,
        "grade",
        1.0,
        tmp_path / "tuned",
        ms.FinetuneSettings(epochs=1, min_steps=1, resamples=20),
    )
    check(run, "timm", tmp_path / "backbone", monkeypatch)
    assert check(tuned, "timm", tmp_path / "classifier", monkeypatch).shape == (5, 3)
    card = (tmp_path / "classifier" / "README.md").read_text()
    scores = json.loads((tuned / "result.json").read_text())["test"]["scores"]["quadratic_kappa"]
    assert f"{scores['value']:.3f} ({scores['low']:.3f} to {scores['high']:.3f})" in card
    assert str(tmp_path) not in card


@pytest.mark.parametrize("to", GRAPHS)
def test_graph_takes_pixels_and_gives_stages(
    runs: Path, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / to
    check(runs / "small-tuned", to, out, monkeypatch, stages=True, with_preprocessing=True)
    config = json.loads((out / "config.json").read_text())
    graph = config["onnx" if to == "onnx" else "program"]
    assert graph == {
        "input": "pixels",
        "outputs": ["logits", "pooled", "stage1", "stage2", "stage3", "stage4"],
    }


@pytest.mark.slow
@pytest.mark.parametrize("to", GRAPHS)
def test_graph_takes_normalised_images(
    runs: Path, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(runs / "grey", to, tmp_path / to, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["timm", "huggingface", *GRAPHS])
@pytest.mark.parametrize(
    "architecture",
    [
        "vit_tiny_patch16_224",
        "convnext_atto",
        "swin_tiny_patch4_window7_224",
        "mobilenetv3_small_050",
    ],
)
def test_other_networks_load_by_their_cards(
    architecture: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = {"name": "organ", "kind": "multiclass", "classes": ["lung", "liver", "other"]}
    run = tuned_run(
        tmp_path / "run", architecture, encoder="scratch", channels=3, task=task, outputs=3
    )
    check(run, to, tmp_path / to, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "to"),
    [
        ("resnet34", "torchvision"),
        ("resnet50", "torchvision"),
        ("resnext50_32x4d", "torchvision"),
        ("wide_resnet50_2", "torchvision"),
        ("densenet121", "torchvision"),
        ("densenet161", "torchvision"),
        ("resnet34", "monai"),
        ("resnet50", "monai"),
        ("resnet101", "monai"),
    ],
)
def test_networks_shared_with_others(
    architecture: str, to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = pretrained_run(tmp_path / "run", architecture)
    check(run, to, tmp_path / to, monkeypatch)


def test_timm_s_other_ways_of_loading(runs: Path, tmp_path: Path) -> None:
    import timm

    folder = ms.export(runs / "small", "timm", tmp_path / "out")
    file = str(folder / "model.safetensors")
    options = {"num_classes": 0, "in_chans": 3}
    models = [
        timm.create_model("resnet10t", checkpoint_path=file, **options),
        timm.create_model(
            "resnet10t",
            pretrained=True,
            pretrained_cfg_overlay={"file": file, "num_classes": 0},
            **options,
        ),
    ]
    strict = timm.create_model("resnet10t", **options)
    strict.load_state_dict(load_file(file), strict=True)
    for model in [*models, strict]:
        for key, value in load_file(file).items():
            assert torch.equal(model.state_dict()[key], value), key


def test_timm_knows_the_preprocessing(runs: Path, tmp_path: Path) -> None:
    import timm
    from timm.data import resolve_data_config

    folder = ms.export(runs / "small", "timm", tmp_path / "out")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    known = resolve_data_config(model=model)
    options = preprocessing_of(3)
    assert (tuple(known["mean"]), tuple(known["std"])) == (options.mean, options.std)
    assert known["input_size"] == (3, SIZE, SIZE)
