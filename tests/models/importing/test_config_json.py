"""What config.json beside a weights file says of its encoder's input."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save_file

from medstrata.exporting.export import export
from medstrata.models.backbones import create_backbone
from medstrata.models.encoders import load_encoder
from medstrata.models.import_weights import import_weights
from medstrata.models.importing.config_json import read_input_config
from medstrata.models.settings import ImportSettings
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.errors import MedstrataError

TIMM = {
    "architecture": "test_resnet",
    "pretrained_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.3, 0.2, 0.1], "input_size": [3, 40, 40]},
}
OURS = {
    "architecture": "test_resnet.r160_in1k",
    "preprocessing": {"image_size": 40, "channels": 1, "mean": [0.4], "std": [0.2]},
}


def weights(folder: Path, config: object, channels: int = 3) -> Path:
    """A weights file with a config.json beside it."""
    folder.mkdir(exist_ok=True)
    model = create_backbone("test_resnet", in_channels=channels, image_size=32).model
    save_file(model.state_dict(), folder / "model.safetensors")
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    return folder / "model.safetensors"


def expected(folder: Path) -> dict[str, Any]:
    """What an imported encoder expects."""
    config = json.loads((folder / "exported" / "config.json").read_text())
    return dict(config["preprocessing"])


@pytest.mark.parametrize(
    ("config", "channels", "mean", "std"),
    [
        (TIMM, 3, [0.5, 0.4, 0.3], [0.3, 0.2, 0.1]),
        (TIMM, 1, [0.4], [0.2]),
        (OURS, 1, [0.4], [0.2]),
        (OURS, 3, [0.4] * 3, [0.2] * 3),
        ({**OURS, "medstrata": {"preprocessing": OURS["preprocessing"]}}, 1, [0.4], [0.2]),
    ],
)
def test_it_is_taken_and_said(
    config: dict[str, Any],
    channels: int,
    mean: list[float],
    std: list[float],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = weights(tmp_path / "theirs", config)
    out = import_weights(
        file,
        tmp_path / "out",
        backbone="test_resnet",
        settings=ImportSettings(in_channels=channels),
    )
    assert "model.safetensors: input as config.json beside it says" in capsys.readouterr().err
    found = expected(out)
    assert found["mean"] == pytest.approx(mean)
    assert found["std"] == pytest.approx(std)
    assert found["image_size"] == 40


def test_what_is_given_goes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = weights(tmp_path / "theirs", TIMM)
    options: dict[str, Any] = {"mean": [0.1], "image_size": 48}
    out = import_weights(
        file, tmp_path / "out", backbone="test_resnet", settings=ImportSettings(**options)
    )
    assert "std of the input as config.json beside it says" in capsys.readouterr().err
    assert expected(out) == {
        "image_size": 48, "channels": 3, "mean": [0.1] * 3, "std": [0.3, 0.2, 0.1],
    }  # fmt: skip


def test_a_file_named_as_an_encoder_is_described_too(tmp_path: Path) -> None:
    file = weights(tmp_path / "theirs", TIMM)
    loaded = load_encoder(
        EncoderSpec.parse(file), backbone="test_resnet", image_size=32, channels=1, store_stats=None
    )
    assert loaded.preprocessing.mean == (0.5, 0.4, 0.3)
    assert loaded.preprocessing.image_size == 32  # that of the store's images


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[" * 100_000,
        "[1]",
        "{}",
        {**TIMM, "architecture": "resnet18"},
        {**TIMM, "pretrained_cfg": 3},
        {"architecture": "test_resnet", "pretrained_cfg": {"mean": [0.5]}},
        json.dumps(TIMM) + " " * (1 << 20),
    ],
    ids=["empty", "deep", "list", "bare", "of another network", "number", "half", "large"],
)
def test_what_is_no_description_is_passed_over(
    config: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = weights(tmp_path / "theirs", config)
    assert read_input_config(file, "test_resnet") is None
    out = import_weights(file, tmp_path / "out", backbone="test_resnet")
    assert "input as ImageNet's mean and deviation, usual for" in capsys.readouterr().err
    assert expected(out)["mean"] == [0.485, 0.456, 0.406]


@pytest.mark.parametrize(
    "wrong",
    [
        {"mean": [123.7, 116.3, 103.5]},
        {"mean": None},
        {"mean": [float("nan")]},
        {"mean": [0.5, 0.5]},
        {"std": [0.0]},
        {"std": ["wide"]},
        {"input_size": ["large"]},
        {"input_size": []},
        {"input_size": [3, 0, 0]},
        {"input_size": float("inf")},
    ],
)
def test_an_impossible_description_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    config = {**TIMM, "pretrained_cfg": {**TIMM["pretrained_cfg"], **wrong}}  # type: ignore[dict-item]
    file = weights(tmp_path / "theirs", config)
    with pytest.raises(MedstrataError, match=r"config\.json says no mean, deviation and size"):
        import_weights(file, tmp_path / "out", backbone="test_resnet")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", ["timm", "huggingface", "torchvision", "monai"])
def test_our_own_exports_come_back_as_they_were(target: str, tmp_path: Path) -> None:
    model = timm.create_model("resnet18", num_classes=0)
    save_file(model.state_dict(), tmp_path / "resnet18.safetensors")
    options: dict[str, Any] = {"mean": [0.31], "std": [0.17], "image_size": 64}
    first = import_weights(
        tmp_path / "resnet18.safetensors",
        tmp_path / "run",
        backbone="resnet18",
        settings=ImportSettings(**options),
    )
    folder = export(first, target, tmp_path / "exported")
    (file,) = [*folder.glob("*.safetensors"), *folder.glob("*.pt*")]
    again = import_weights(file, tmp_path / "again", backbone="resnet18")
    assert expected(again) == expected(first)
