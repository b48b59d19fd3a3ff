"""A cell that tries several settings."""

import json
from pathlib import Path
from typing import Any

import yaml

from medstrata.data.store.store import Store
from medstrata.studies.cell import run_cell
from medstrata.studies.plan import input_digests, plan
from medstrata.studies.settings import StudySettings
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


def test_weights_to_continue_from_lie_where_the_study_says_and_decide_the_cell(
    tmp_path: Path, tiny_store: Store
) -> None:
    def with_weights(pretrain: dict[str, Any]) -> StudySettings:
        return tiny(
            data={"tiny": {"store": str(tiny_store.path), "task": "finding"}},
            seeds=1,
            arms={"moco": {"recipe": "fair/moco", "pretrain": pretrain}},
        )

    out, root = tmp_path / "out", tmp_path / "root"
    first = with_weights({})
    pretraining = plan(first)[0]
    run_cell(pretraining, first, out, root)
    (root / "runs").mkdir(parents=True)
    (out / pretraining.folder).rename(root / "runs" / "moco")
    continued = with_weights({"weights": "runs/moco"})
    before = plan(continued, input_digests(continued, root))[0]
    run_cell(before, continued, out, root)
    exported = Path("exported") / "backbone.safetensors"
    (root / "runs" / "moco" / exported).write_bytes((out / before.folder / exported).read_bytes())
    after = plan(continued, input_digests(continued, root))[0]
    assert before.config != after.config
