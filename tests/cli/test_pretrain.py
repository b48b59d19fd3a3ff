"""Which settings pretrain takes: of a recipe, a file, the run that goes on, and the words."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from medstrata.cli.main import main
from support.commands import SMALL, leave, one_line
from support.tiny import make_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("pretrain") / "data")


def test_folder_is_prepared_into_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDSTRATA_CACHE", str(tmp_path / "cache"))
    for out in ("one", "two"):
        main(["pretrain", str(folder / "images"), "--out", str(tmp_path / out), *SMALL])
    assert len(list((tmp_path / "cache").glob("images-*.store"))) == 1


def test_print_config_is_a_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("pretrain", "s", "--out", "r", "--recipe", "fair/moco_bt", "--print_config") == 0
    printed = capsys.readouterr().out
    assert "loss: barlow_twins" in printed


def trained(folder: Path, tmp_path: Path, *words: str | Path) -> dict[str, Any]:
    """The settings that the loop would have got."""
    seen: dict[str, Any] = {}

    def keep(_store: object, settings: Any, *_: object, **__: object) -> None:
        seen.update(asdict(settings))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.pretrain", keep)
        patch.setattr("medstrata.data.prepare.cached.open_or_prepare", lambda source: source)
        main([str(word) for word in ("pretrain", folder, "--out", tmp_path / "run", *words)])
    return seen


def test_printed_settings_are_a_config_that_trains_the_same(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ("--recipe", "fair/moco_bt", "--epochs", "5")
    capsys.readouterr()
    assert leave("pretrain", "s", "--out", "r", *recipe, "--print_config") == 0
    (tmp_path / "c.yaml").write_text(capsys.readouterr().out)
    expected = trained(folder, tmp_path, *recipe)
    assert expected["recipe"] == "fair/moco_bt"
    for option in ("--config", "--recipe"):
        assert trained(folder, tmp_path, option, tmp_path / "c.yaml") == expected


def test_help_shows_the_recipe_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert leave("pretrain", "--recipe", "paper/chest/moco", "--help") == 0
    assert "default: 200)" in " ".join(capsys.readouterr().out.split())


def test_one_stage_of_the_weights_may_be_changed_alone(folder: Path, tmp_path: Path) -> None:
    words = ("--recipe", "fair/moco_mse", "--intermediate.weights.stage1", "0.5")
    weights = trained(folder, tmp_path, *words)["intermediate"]["weights"]
    assert weights == {"stage1": 0.5, "stage2": 0.25, "stage3": 0.25, "stage4": 0.25}


def test_a_stage_that_a_network_lacks_may_be_left_out(folder: Path, tmp_path: Path) -> None:
    named = "{stage1: 0.25, stage2: 0.5}"  # as a refusal proposes it
    words = ("--recipe", "fair/moco_mse", "--intermediate.weights", named)
    weights = trained(folder, tmp_path, *words)["intermediate"]["weights"]
    assert weights == {"stage1": 0.25, "stage2": 0.5}


def test_a_config_may_name_a_recipe_and_change_some_of_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("recipe: fair/moco_bt\nepochs: 5\n")
    seen = trained(folder, tmp_path, "--config", tmp_path / "c.yaml")
    assert (seen["recipe"], seen["epochs"]) == ("fair/moco_bt", 5)
    assert seen["intermediate"]["loss"] == "barlow_twins"


@pytest.mark.parametrize("content", ["", "a: [b", "\x00"])
def test_a_recipe_file_that_is_none_is_one_line(
    content: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    words = ("pretrain", folder, "--out", tmp_path / "r", "--recipe", tmp_path / "bad.yaml")
    assert leave(*words) == 1
    assert "bad.yaml" in one_line(capsys)


def test_a_setting_that_a_recipe_file_does_not_know_is_a_usage_error(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "own.yaml").write_text("epoch: 3\n")
    words = ("pretrain", folder, "--out", tmp_path / "r", "--recipe", tmp_path / "own.yaml")
    assert leave(*words) == 2
    assert "own.yaml: no setting 'epoch'; there are recipe" in one_line(capsys)


def test_no_recipe_is_the_recommended_one(folder: Path, tmp_path: Path) -> None:
    seen = trained(folder, tmp_path)
    assert (seen["recipe"], seen["steps"], seen["epochs"]) == ("recommended", 8000, None)
    assert seen["intermediate"]["loss"] == "barlow_twins"


@pytest.mark.parametrize("place", [0, 2])
def test_a_modality_brings_views_that_named_ones_change(
    place: int, folder: Path, tmp_path: Path
) -> None:
    words = ["--views.horizontal_flip", "0.25"]
    words[place:place] = ["--modality", "chest"]
    seen = trained(folder, tmp_path, *words)
    assert (seen["modality"], seen["intermediate"]["loss"]) == ("chest", "mse")
    assert seen["views"]["crop_scale"] == (0.5, 1.0)
    assert seen["views"]["horizontal_flip"] == 0.25


def test_a_modality_may_stand_in_a_config(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("modality: histopathology\nrecipe: fair/moco\nsteps: 9\n")
    seen = trained(folder, tmp_path, "--config", tmp_path / "c.yaml")
    assert (seen["modality"], seen["views"]["vertical_flip"]) == ("histopathology", 0.5)
    assert (seen["steps"], seen["epochs"]) == (9, None)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "paper/chest/moco", "--modality", "retina"), "is for chest, not for retina"),
        (("--recipe", "own.yaml", "--modality", "chest"), "own.yaml has its own views"),
        (("--modality", "brain"), "brain"),
        (("--steps", "9", "--epochs", "2"), "steps must be none where epochs is 2"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(
    words: tuple[str, ...],
    said: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("epochs: 3\n")
    assert leave("pretrain", folder, "--out", "r", *words) == 2
    assert said in one_line(capsys)


@pytest.mark.parametrize(
    ("words", "epochs", "steps"),
    [
        (("--recipe", "fair/moco", "--epochs", "5"), 5, None),
        (("--epochs=5",), 5, None),
        (("--recipe", "paper/chest/moco", "--steps", "9"), None, 9),
        (("--recipe", "paper/chest/moco"), 200, None),
        (("--recipe", "own.yaml"), 3, None),
        (("--recipe", "own.yaml", "--steps", "9"), None, 9),
    ],
)
def test_one_length_decides_and_the_named_one_wins(
    words: tuple[str, ...],
    epochs: int | None,
    steps: int | None,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text("epochs: 3\n")
    seen = trained(folder, tmp_path, *words)
    assert (seen["epochs"], seen["steps"]) == (epochs, steps)
