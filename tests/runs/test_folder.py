"""Settings of a run folder: those of earlier versions are taken up."""

from pathlib import Path

from medstrata.pretraining.recipes import recipe
from medstrata.runs.folder import open_run, settings_dict


def test_a_run_of_a_version_without_options_is_taken_up(tmp_path: Path) -> None:
    now = settings_dict(recipe("fair/moco_mse"))
    before = {
        **now,
        "intermediate": {k: v for k, v in now["intermediate"].items() if k != "options"},
    }
    open_run(tmp_path / "run", before)
    assert open_run(tmp_path / "run", now, resume=True)
