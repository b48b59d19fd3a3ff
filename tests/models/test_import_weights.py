"""Encoders of other programs where runs are asked for: folders, files, arms of a study."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from medstrata.cli.main import main
from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.models.backbones import create_backbone
from medstrata.models.encoders import LoadedEncoder, load_encoder
from medstrata.models.import_weights import import_weights
from medstrata.models.settings import ImportSettings
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.errors import MedstrataError
from medstrata.studies.cell import run_cell
from medstrata.studies.plan import plan
from medstrata.studies.study_file import as_study
from support.foreign_files import under, xray_densenet

FROZEN = FinetuneSettings(protocol="frozen", resamples=20)


def network(channels: int = 3) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        backbone = create_backbone("test_resnet", in_channels=channels, image_size=32)
    return backbone.model.state_dict()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    state = {**under("module.encoder_q.", network()), **under("module.encoder_k.", network())}
    torch.save({"state_dict": state}, tmp_path / "theirs.pth")
    return tmp_path / "theirs.pth"


def loaded(encoder: Path | str, **options: Any) -> LoadedEncoder:
    given = {"backbone": "test_resnet", "image_size": 32, "channels": 1, "store_stats": (0, 1)}
    return load_encoder(EncoderSpec.parse(encoder), **{**given, **options})


def config(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "exported" / "config.json").read_text()))


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    return int(left.value.code or 0)


# --- The folder --------------------------------------------------------------------------------


def test_the_command_says_what_it_did_and_writes_a_folder_that_serves_as_a_run(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "imported"
    main(["import-weights", str(file), "--backbone", "test_resnet", "--out", str(out)])
    said = capsys.readouterr().err
    count = len(network())
    assert f"matched {count} of {count}, dropped none, missing none (MoCo layout, query" in said
    assert "also in the file: encoder key (--encoder takes it)" in said
    assert "input as ImageNet's mean and deviation, usual for the MoCo layout" in said
    written = load_file(out / "exported" / "backbone.safetensors")
    assert all(torch.equal(value, written[key]) for key, value in network().items())
    assert config(out)["preprocessing"]["mean"] == [0.485, 0.456, 0.406]
    result = json.loads((out / "result.json").read_text())
    assert (result["kind"], result["layout"], result["matched"]) == ("import", "MoCo", count)
    assert len(result["sha256"]) == 64
    # It needs no --backbone, as a run does not.
    assert loaded(out, backbone=None).arm == "theirs"
    assert "matched" not in capsys.readouterr().err


def test_numbers_of_the_preprocessing_can_be_given(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "imported"
    words = ["--in-channels", "1", "--mean", "[0.5]", "--std", "[0.25]", "--image-size", "48"]
    words += ["--backbone", "test_resnet", "--out", str(out), "--encoder", "key", "--arm", "theirs"]
    main(["import-weights", str(file), *words])
    assert "three channels summed into one" in capsys.readouterr().err
    assert config(out)["preprocessing"] == {
        "image_size": 48,
        "channels": 1,
        "mean": [0.5],
        "std": [0.25],
    }
    assert loaded(out).backbone.model.conv1[0].weight.shape[1] == 1


def test_one_mean_stands_for_all_channels_and_two_are_refused(file: Path, tmp_path: Path) -> None:
    one = import_weights(
        file, tmp_path / "one", backbone="test_resnet", settings=ImportSettings(mean=[0.5])
    )
    assert config(one)["preprocessing"]["mean"] == [0.5, 0.5, 0.5]
    assert config(one)["preprocessing"]["std"] == [0.229, 0.224, 0.225]
    with pytest.raises(MedstrataError, match="mean has 2 values; give one, or one of 3"):
        import_weights(
            file, tmp_path / "two", backbone="test_resnet", settings=ImportSettings(mean=[0.5, 0.5])
        )
    assert not (tmp_path / "two").exists()


def test_an_xray_encoder_gets_the_values_it_was_trained_on(tmp_path: Path) -> None:
    foreign = xray_densenet()
    torch.save(foreign.content, tmp_path / "xray.pt")
    encoder = loaded(tmp_path / "xray.pt", backbone="densenet121", image_size=64)
    pixels = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 1, 3, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torchxrayvision.utils import normalize
    expected = torch.from_numpy(normalize(pixels.numpy(), 255)).permute(0, 3, 1, 2)
    torch.testing.assert_close(encoder.preprocessing(pixels), expected.float())
    assert expected.min() == -1024
    assert encoder.preprocessing.channels == 1


@pytest.mark.parametrize(("layout", "mean"), [("1.0.2", 0.0), (None, 0.485)])
def test_the_papers_encoders_expect_values_in_0_to_1(
    layout: str | None, mean: float, tmp_path: Path
) -> None:
    content = {"state_dict": under("encoder_q.", network())}
    if layout is not None:
        content["pytorch-lightning_version"] = layout  # type: ignore[assignment]
    torch.save(content, tmp_path / "x.ckpt")
    assert loaded(tmp_path / "x.ckpt").preprocessing.mean[0] == mean


def test_a_folder_in_use_is_refused(file: Path, tmp_path: Path) -> None:
    out = import_weights(file, tmp_path / "out", backbone="test_resnet")
    before = (out / "result.json").read_bytes()
    with pytest.raises(MedstrataError, match="holds an earlier import; add --overwrite"):
        import_weights(file, out, backbone="test_resnet")
    assert (out / "result.json").read_bytes() == before
    import_weights(
        file, out, backbone="test_resnet", settings=ImportSettings(encoder="key"), overwrite=True
    )
    assert json.loads((out / "result.json").read_text())["encoder"] == "key"


def test_a_refused_file_leaves_nothing_and_status_1(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run("import-weights", file, "--backbone", "resnet18", "--out", out) == 1
    line = capsys.readouterr().err
    assert len(line.splitlines()) == 1
    assert line.startswith("medstrata import-weights: ")
    assert "does not fit resnet18 (MoCo layout, query encoder)" in line
    assert not out.exists()
    assert run("import-weights", file, "--out", out) == 2
    assert run("import-weights", file, "--backbone", "resnot", "--out", out) == 1
    assert (
        run("import-weights", file, "--backbone", "test_resnet", "--out", out, "--in-channels", 2)
        == 2
    )


# --- Wherever an encoder is named --------------------------------------------------------------


def test_a_file_is_an_encoder_as_the_imported_folder_is(
    file: Path, tmp_path: Path, tiny_store: Store
) -> None:
    folder = import_weights(
        file, tmp_path / "imported", backbone="test_resnet", settings=ImportSettings(image_size=32)
    )
    values = []
    for name, encoder, backbone in (("file", file, "test_resnet"), ("folder", folder, None)):
        done = finetune(
            str(encoder), tiny_store, "finding", 1.0, tmp_path / name, FROZEN, backbone=backbone
        )
        result = json.loads((done / "result.json").read_text())
        assert (result["arm"], result["backbone"]) == ("theirs", "test_resnet")
        values.append(result["test"]["scores"])
    assert values[0] == values[1]


def test_a_file_needs_to_know_its_network(file: Path) -> None:
    with pytest.raises(MedstrataError, match=r"theirs\.pth needs to know the network"):
        loaded(file, backbone=None)


def test_grey_weights_meet_colour_images(tmp_path: Path) -> None:
    save_file(network(1), tmp_path / "grey.safetensors")
    assert loaded(tmp_path / "grey.safetensors", channels=1).preprocessing.channels == 1
    assert loaded(tmp_path / "grey.safetensors", channels=3).preprocessing.channels == 3


def test_pretraining_goes_on_from_a_file(file: Path, tmp_path: Path, tiny_store: Store) -> None:
    settings = recipe(
        "fair/moco",
        backbone="test_resnet",
        weights=str(file),
        epochs=1,
        batch_size=8,
        contrastive={"queue_size": 16, "key_part_size": 0},
        optimizer={"lr": 1e-9},
    )
    started = pretrain(tiny_store, settings, tmp_path / "run")
    written = load_file(started / "exported" / "backbone.safetensors")
    name = "layer1.0.conv1.weight"
    np.testing.assert_allclose(written[name], network()[name], atol=1e-6)


def test_a_file_is_an_arm_of_a_study(file: Path, tmp_path: Path, tiny_store: Store) -> None:
    settings = as_study(
        {
            "backbone": "test_resnet",
            "data": {"tiny": {"store": str(tiny_store.path), "task": "finding"}},
            "arms": {"theirs": {"encoder": file.name}},
            "fractions": [1.0],
            "seeds": 1,
            "protocols": {"frozen": {"settings": {"resamples": 20}}},
            "probe": None,
            "reuse": None,
            "atlas": None,
        }
    )
    (cell,) = plan(settings)
    run_cell(cell, settings, tmp_path / "out", file.parent)
    result = json.loads((tmp_path / "out" / cell.folder / "result.json").read_text())
    assert result["arm"] == "theirs"
    assert result["encoder"].endswith("theirs.pth")


def test_channels_that_no_image_has_are_refused(tmp_path: Path) -> None:
    save_file(network(channels=4), tmp_path / "four.safetensors")
    with pytest.raises(MedstrataError, match="trained on images of 4 channels"):
        import_weights(tmp_path / "four.safetensors", tmp_path / "out", backbone="test_resnet")
    with pytest.raises(MedstrataError, match="trained on images of 4 channels"):
        loaded(tmp_path / "four.safetensors")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"std": [0.0]}, "std must be above 0, of values in 0..1"),
        ({"std": [58.4]}, "divide by 255"),
        ({"mean": [123.7, 116.3, 103.5]}, "mean must be of values in 0..1"),
        ({"mean": [float("nan")]}, "mean must be of values in 0..1"),
        ({"image_size": -5}, "image_size must be 1 or more, or none, got -5"),
        ({"in_channels": 7}, "in_channels must be one of 1, 3, none, got 7"),
    ],
)
def test_impossible_numbers_are_refused(option: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ImportSettings(**option)


def test_the_half_that_is_assumed_is_said(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_weights(
        file, tmp_path / "out", backbone="test_resnet", settings=ImportSettings(mean=[0.5])
    )
    assert "theirs.pth: std of the input as ImageNet's mean and" in capsys.readouterr().err
    import_weights(
        file,
        tmp_path / "all",
        backbone="test_resnet",
        settings=ImportSettings(mean=[0.5], std=[0.25]),
    )
    assert "usual for" not in capsys.readouterr().err


def test_what_is_too_large_for_float32_is_refused(tmp_path: Path) -> None:
    state = network()
    state["bn1.weight"] = state["bn1.weight"].double()
    state["bn1.weight"][0] = 1e300
    torch.save(state, tmp_path / "wide.pth")
    with pytest.raises(MedstrataError, match="holds NaN or infinity"):
        loaded(tmp_path / "wide.pth", channels=3)


def test_only_an_earlier_import_is_overwritten(
    file: Path, tiny_store: Store, tmp_path: Path
) -> None:
    settings = recipe(
        "fair/moco", backbone="test_resnet", epochs=1, batch_size=8,
        contrastive={"queue_size": 8},
    )  # fmt: skip
    trained = pretrain(tiny_store, settings, tmp_path / "trained")
    weights = trained / "exported" / "backbone.safetensors"
    for given in (file, weights):
        with pytest.raises(MedstrataError, match="holds no earlier import"):
            import_weights(given, trained, backbone="test_resnet", overwrite=True)
    assert list((trained / "checkpoints").iterdir())
    out = import_weights(file, tmp_path / "out", backbone="test_resnet")
    inside = out / "exported" / "backbone.safetensors"
    with pytest.raises(MedstrataError, match="would be deleted"):
        import_weights(inside, out, backbone="test_resnet", overwrite=True)
    assert inside.is_file()


@pytest.mark.parametrize(
    ("backbone", "occupied", "words"),
    [
        ("test_resnet.nonsense", False, "is not a timm model"),
        ("test_resnet", True, "is a file; choose another --out"),
    ],
)
def test_no_traceback(
    backbone: str,
    occupied: bool,
    words: str,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    if occupied:
        out.touch()
    assert run("import-weights", file, "--backbone", backbone, "--out", out) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("medstrata import-weights: ")
    assert words in line


def test_a_damaged_config_of_a_run_is_named(file: Path, tmp_path: Path) -> None:
    out = import_weights(file, tmp_path / "out", backbone="test_resnet")
    (out / "exported" / "config.json").write_text("{}")
    with pytest.raises(MedstrataError, match=r"config.json is damaged \(KeyError\)"):
        loaded(out)


def test_eight_bits_are_widened(tmp_path: Path) -> None:
    state = network()
    small = {name: value.to(torch.float8_e4m3fn) for name, value in state.items() if value.ndim}
    counts = {name: value for name, value in state.items() if not value.ndim}
    save_file(small | counts, tmp_path / "small.safetensors")
    found = loaded(tmp_path / "small.safetensors", channels=3).backbone.model.state_dict()
    assert torch.equal(found["bn1.weight"], small["bn1.weight"].float())
