"""The demo, cut down to one step of everything."""

from pathlib import Path

import pytest

from medstrata.evaluation.settings import FinetuneSettings
from medstrata.runtime.errors import MedstrataError, Stopped
from medstrata.studies import demo as demonstration


def test_demo_runs_every_arm_says_that_it_is_synthetic_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "_IMAGES", 80)
    monkeypatch.setattr(demonstration, "_SIZE", 32)
    short = FinetuneSettings(epochs=1, min_steps=1, resamples=20)
    monkeypatch.setattr(demonstration, "_TUNING", short)
    report = demonstration.demo(tmp_path, epochs=1)
    assert "made-up images, which says nothing about medicine</h1>" in report.read_text()
    results = sorted(tmp_path.rglob("result.json"))
    assert [path.parent.name for path in results if path.parts[-3] == "finetune"] == sorted(
        f"{arm}-{fraction}"
        for arm in ("scratch", "moco", "moco_mse", "moco_bt")
        for fraction in ("0.05", "1")
    )
    written = {path: path.stat().st_mtime_ns for path in results}
    monkeypatch.setattr(demonstration, "write_report", lambda *_: report)  # seen above
    demonstration.demo(tmp_path, epochs=1)
    assert {path: path.stat().st_mtime_ns for path in results} == written


def test_a_stopped_demo_says_that_the_same_command_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Stopped("stopped at step 3; go on with --resume")

    monkeypatch.setattr(demonstration, "_IMAGES", 160)
    monkeypatch.setattr(demonstration, "pretrain", stopped)
    with pytest.raises(MedstrataError, match=r"^stopped and saved; the same command goes on$"):
        demonstration.demo(tmp_path)


def test_images_that_are_not_there_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="does not exist"):
        demonstration.demo(tmp_path / "new", data=tmp_path / "none", labels=tmp_path / "none.csv")
    assert not (tmp_path / "new").exists()
