"""A cell that tries several settings."""

import json
from pathlib import Path

import yaml

from medstrata.data.store.store import Store
from medstrata.studies.cell import run_cell
from medstrata.studies.plan import plan
from support.small_study import TINY, tiny


def test_a_grid_keeps_what_validates_best(tmp_path: Path, tiny_store: Store) -> None:
    study = tiny(
        data={"tiny": {"store": str(tiny_store.path), "task": "finding"}},
        protocols={"full": TINY["protocols"]["full"] | {"grid": {"lr": [1e-9, 1e-3]}}},
        seeds=1,
        fractions=[1.0],
        arms={"scratch": {"encoder": "scratch"}},
    )
    (tuning,) = plan(study)
    run_cell(tuning, study, tmp_path, tmp_path)
    cell = tmp_path / tuning.folder
    choice = json.loads((cell / "choice.json").read_text())
    best = choice["tried"][choice["best"]]
    assert best["val"] == max(one["val"] for one in choice["tried"])
    assert json.loads((cell / "result.json").read_text())["val"]["value"] == best["val"]
    assert yaml.safe_load((cell / "config.yaml").read_text())["lr"] == best["settings"]["lr"]
    assert not (cell / "candidates").exists()
