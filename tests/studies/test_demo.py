"""The demo, cut down to one step of everything."""

from pathlib import Path

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.studies import demo as demonstration


def test_demo_runs_every_arm_says_that_it_is_made_up_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demonstration, "_IMAGES", 80)
    monkeypatch.setattr(demonstration, "_SEEDS", 1)
    monkeypatch.setattr(demonstration, "_DRAWS", 1)
    monkeypatch.setattr(demonstration, "_TUNING", {"epochs": 1, "min_steps": 1, "resamples": 20})
    report = demonstration.demo(tmp_path, steps=1)
    assert "made-up images, which says nothing about medicine</h1>" in report.read_text()
    results = sorted((tmp_path / "study" / "full").rglob("result.json"))
    assert [path.parent.name for path in results] == sorted(
        f"{arm}-{fraction}-0-0"
        for arm in ("scratch", "moco", "moco_mse", "moco_bt")
        for fraction in ("0.05", "1")
    )
    written = {path: path.stat().st_mtime_ns for path in results}
    demonstration.demo(tmp_path, steps=1)
    assert {path: path.stat().st_mtime_ns for path in results} == written


def test_images_that_are_not_there_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="does not exist"):
        demonstration.demo(tmp_path / "new", data=tmp_path / "none", labels=tmp_path / "none.csv")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("steps", [0, -3])
def test_no_steps_are_refused_before_there_is_a_folder(tmp_path: Path, steps: int) -> None:
    with pytest.raises(ValueError, match=f"^steps must be 1 or more, got {steps}$"):
        demonstration.demo(tmp_path / "new", steps=steps)
    assert not (tmp_path / "new").exists()
