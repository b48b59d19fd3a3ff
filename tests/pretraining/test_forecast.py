"""A run says what it will take before its first step; what cannot fit leaves no folder."""

from pathlib import Path

import pytest

from medstrata.data.store.store import Store
from medstrata.pretraining.forecast import disk_bytes
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime import forecast
from medstrata.runtime.errors import MedstrataError


@pytest.fixture(autouse=True)
def _no_run_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "_SHORT_RUN", 0)


@pytest.fixture
def settings() -> PretrainSettings:
    return recipe("fair/moco", backbone="test_resnet", steps=2, batch_size=8, precision="fp32")


def test_time_memory_and_disk_are_said_before_the_first_step(
    tiny_store: Store,
    settings: PretrainSettings,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = pretrain(tiny_store, settings, tmp_path / "run")
    lines = capsys.readouterr().err.splitlines()
    said = next(line for line in lines if line.startswith("about "))
    assert "of memory of" in said
    assert lines.index(said) < next(i for i, line in enumerate(lines) if "pre-trained" in line)
    taken = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
    promised = disk_bytes(settings, 4 * 372_400, 48)
    assert taken == pytest.approx(promised, rel=0.5)


def test_what_cannot_fit_the_memory_leaves_no_folder(
    tiny_store: Store, settings: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "_free_device_memory", lambda _: 2**20)
    with pytest.raises(MedstrataError, match=r"a step of 8 images needs about .* can be had; take"):
        pretrain(tiny_store, settings, tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_what_cannot_fit_the_disk_leaves_no_folder(
    tiny_store: Store, settings: PretrainSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "_free_disk", lambda _: 2**20)
    with pytest.raises(MedstrataError, match=r"run will take about .* make room, or take another"):
        pretrain(tiny_store, settings, tmp_path / "run")
    assert not list(tmp_path.iterdir())
