"""A target of somebody else's package, named by its import path."""

import json
from pathlib import Path

import pytest

import medstrata as ms
from medstrata.cli.main import main
from medstrata.exporting.export import _target
from medstrata.exporting.settings import TARGETS, ExportSettings
from medstrata.runtime.errors import MedstrataError
from support.exported_runs import pretrained_run

TARGET = '''
from dataclasses import dataclass

import torch
from safetensors.torch import load_file, save_file

from medstrata.exporting.source import describe
from medstrata.exporting.target import LoadedExport, save_config


class Averages:
    """The mean of each image, which is all that this library wants to know."""

    library = "averages"
    consumer = "torch"
    tolerance = 1e-6
    takes_head = False
    scale = 1.0

    def require(self, source):
        pass

    def write(self, source, folder):
        state = source.backbone.model.state_dict()
        scaled = {key: value * self.scale for key, value in state.items()}
        save_file(scaled, folder / "w.safetensors")
        save_config(folder, describe(source))

    def load(self, source, folder, pixels):
        source.backbone.model.load_state_dict(load_file(folder / "w.safetensors"))
        with torch.inference_mode():
            return LoadedExport({"pooled": source.backbone(source.preprocessing(pixels)).pooled})

    def snippet(self, source):
        return "import averages\\n"


class Wrong(Averages):
    scale = 1.5


@dataclass(frozen=True)
class Staged(Averages):
    stages: bool = False
    with_preprocessing: bool = False

    def snippet(self, source):
        return f"# stages: {self.stages}\\n"


class Needy(Averages):
    def __init__(self, wanted):
        pass


ready = Averages()
number = 3
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "averages_pkg").mkdir()
    (tmp_path / "averages_pkg" / "targets.py").write_text(TARGET)
    monkeypatch.syspath_prepend(tmp_path)
    return pretrained_run(tmp_path / "pre", "test_resnet")


@pytest.mark.parametrize("name", ["Averages", "ready"])
def test_a_class_or_an_object_writes_and_is_proved(
    run: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", str(run), "--to", f"averages_pkg.targets:{name}"]
    main([*words, "--out", str(tmp_path / "out")])
    assert "pooled, loaded by torch, largest difference 0" in capsys.readouterr().err
    card = (tmp_path / "out" / "README.md").read_text()
    assert "import averages" in card
    assert "library_name: averages" in card
    assert (
        json.loads((tmp_path / "out" / "config.json").read_text())["architecture"] == "test_resnet"
    )


def test_one_that_gives_something_else_leaves_nothing(run: Path, tmp_path: Path) -> None:
    # The first batch norm cancels any factor of the first convolution, but not of all weights.
    with pytest.raises(MedstrataError, match="torch gives other pooled than this encoder"):
        ms.export(run, "averages_pkg.targets:Wrong", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_options_of_graphs_reach_fields_of_their_names(run: Path, tmp_path: Path) -> None:
    settings = ms.ExportSettings(stages=True)
    folder = ms.export(run, "averages_pkg.targets:Staged", tmp_path / "out", settings)
    assert "# stages: True" in (folder / "README.md").read_text()
    with pytest.raises(MedstrataError, match="belong to graphs"):
        ms.export(run, "averages_pkg.targets:Averages", tmp_path / "other", settings)


@pytest.mark.parametrize(
    ("path", "match"),
    [
        ("averages_pkg.targets:number", "has no consumer, library, load, require, snippet, takes"),
        ("averages_pkg.targets:Needy", "cannot be made: .*wanted"),
        ("averages_pkg.targets:Nobody", "averages_pkg.targets has no Nobody"),
        ("averages_pkg.nowhere:Averages", "no module averages_pkg.nowhere"),
        ("a b:c", "write package.module:Name"),
    ],
)
def test_what_is_no_target_is_refused_in_one_line(
    run: Path, path: str, match: str, tmp_path: Path
) -> None:
    with pytest.raises(MedstrataError, match=match) as caught:
        ms.export(run, path, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_every_target_that_help_names_can_be_exported_to() -> None:
    for name in TARGETS:
        assert _target(name, ExportSettings()).library
