"""An intermediate loss of somebody else's package, named by its import path."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from medstrata.cli.main import main
from medstrata.data.store.store import Store
from medstrata.models.backbones import create_backbone
from medstrata.pretraining.hooks import intermediate_losses
from medstrata.pretraining.losses import build_intermediate
from medstrata.pretraining.recipes import arm_of, recipe
from medstrata.pretraining.settings import STAGES, IntermediateSettings
from medstrata.runs.checkpoints import checkpoints
from medstrata.runtime.errors import MedstrataError
from support.runs import final_state, records, without_times


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


FOREIGN = """
import torch
from torch import nn
from medstrata.models.pooling import global_average_pool
from medstrata.pretraining.losses import StageLoss

class SmoothL1(nn.Module):
    def __init__(self, channels, *, beta):
        super().__init__()
        self.scale = nn.Parameter(torch.rand(channels))
        self.beta = beta

    def pool(self, maps):
        return global_average_pool(maps)

    def forward(self, query, key):
        loss = nn.functional.smooth_l1_loss(
            self.scale * query.float(), self.scale * key.float(), beta=self.beta
        )
        return StageLoss(loss, {"largest": (query - key).abs().max().detach().float()})

class Bare(SmoothL1):
    def forward(self, query, key):
        return super().forward(query, key).loss

def plain(channels):
    return nn.MSELoss()

def broken(channels):
    return {}["absent"]
"""
NAMED = "foreign_package.losses:SmoothL1"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "foreign_package"
    folder.mkdir()
    (folder / "losses.py").write_text(FOREIGN)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    forget_package()


def forget_package() -> None:
    for name in [name for name in sys.modules if name.startswith("foreign_package")]:
        del sys.modules[name]


def test_a_loss_of_another_package_trains_is_kept_and_resumes(
    package: Path, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    words = ["pretrain", str(tiny_store.path), "--out", str(run), "--backbone", "test_resnet"]
    words += ["--epochs", "2", "--batch_size", "8", "--precision", "fp32"]
    words += ["--contrastive.queue_size", "20"]
    words += ["--intermediate.loss", NAMED, "--intermediate.options.beta", "0.5"]
    words += ["--keep_checkpoints", "2"]
    main(words)
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["intermediate"]["loss"] == NAMED
    assert config["intermediate"]["options"] == {"beta": 0.5}
    result = json.loads((run / "result.json").read_text())
    assert result["arm"] == "SmoothL1"
    steps = records(run, "step")
    assert steps[0]["diagnostics"]["stage2"]["largest"] > 0
    weights = final_state(run)["model"]["intermediate.losses.stage2.scale"]

    # As after a kill during the second epoch; the package is missing at first.
    cut, _ = checkpoints(run / "checkpoints")
    shutil.copytree(run, tmp_path / "cut")
    for path in ("result.json", f"checkpoints/step-{2 * int(cut.stem[5:]):09d}.pt"):
        (tmp_path / "cut" / path).unlink()
    package.rename(tmp_path / "away")
    forget_package()
    again = ["pretrain", str(tiny_store.path), "--out", str(tmp_path / "cut"), "--resume"]
    with pytest.raises(SystemExit, match="1"):
        main(again)
    said = capsys.readouterr().err
    assert f"intermediate loss {NAMED}: there is no module foreign_package" in said
    assert "Traceback" not in said
    (tmp_path / "away").rename(package)
    main(again)
    assert torch.equal(
        final_state(tmp_path / "cut")["model"]["intermediate.losses.stage2.scale"], weights
    )
    assert without_times(tmp_path / "cut") == without_times(run)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("loss", "options", "message"),
    [
        (
            "SmoothL1",
            {"bta": 1},
            r"built for 8 channels with options \{'bta': 1\}: .*bta",
        ),
        ("broken", {}, "cannot be built for 8 channels with options {}: KeyError: 'absent'"),
        ("plain", {}, "is not a torch.nn.Module with a method pool"),
        ("Bare", {"beta": 1.0}, "Bare returns a Tensor; return .*StageLoss"),
        ("Missing", {}, "foreign_package.losses has no Missing"),
    ],
)
def test_a_loss_of_another_package_that_does_not_fit_is_refused(
    loss: str, options: dict[str, Any], message: str
) -> None:
    settings = IntermediateSettings(
        loss=f"foreign_package.losses:{loss}", weights={"stage1": 1.0}, options=options
    )
    with pytest.raises(MedstrataError, match=message):
        build_intermediate(settings, {"stage1": 8})(
            {"stage1": normal(2, 8)}, {"stage1": normal(2, 8)}
        )


@pytest.mark.usefixtures("package")
def test_a_loss_of_another_package_in_a_recipe_and_in_a_loop_of_ones_own() -> None:
    settings = recipe("fair/moco_mse", intermediate={"loss": NAMED, "options": {"beta": 0.5}})
    assert arm_of(settings) == "SmoothL1"
    losses = build_intermediate(settings.intermediate, dict.fromkeys(STAGES, 4)).losses
    assert {loss.beta for loss in losses.values()} == {0.5}
    model = create_backbone("test_resnet", in_channels=3, image_size=32).model
    tapped = intermediate_losses(model, NAMED, options={"beta": 2.0})
    for seed in range(2):
        model(normal(2, 3, 32, 32, seed=seed))
    assert tapped() > 0


def test_names_and_options_that_no_loss_has_are_refused() -> None:
    with pytest.raises(ValueError, match=r"loss must be none, mse, .* or package.module:Name"):
        IntermediateSettings(loss="smooth_l1")
    with pytest.raises(ValueError, match=r"options must be empty without a loss"):
        IntermediateSettings(options={"beta": 1.0})


@pytest.mark.parametrize("options", [{"beta": 1.0}, {"grid": 2}])  # a wrong one; one said already
def test_a_loss_of_our_own_is_built_with_its_options_alone(options: dict[str, Any]) -> None:
    settings = IntermediateSettings(loss="mse", options=options)
    with pytest.raises(MedstrataError, match=f"loss mse cannot be built .*{next(iter(options))}"):
        build_intermediate(settings, dict.fromkeys(STAGES, 4))
