"""Finished cells whose settings or inputs have changed are not taken for what they are."""

from pathlib import Path

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.studies.runner import run_cells
from support.small_study import TINY, Pretended, tiny


def test_changed_settings_are_refused_or_made_again_with_what_rests_on_them(
    tmp_path: Path,
) -> None:
    run_cells(tiny(), tmp_path, Pretended(tmp_path))
    changed = tiny(pretrain={**TINY["pretrain"], "epochs": 3})
    with pytest.raises(MedstrataError, match=r"10 finished cells.*epochs 1 -> 3.*--redo"):
        run_cells(changed, tmp_path, Pretended(tmp_path))
    again = Pretended(tmp_path)
    run_cells(changed, tmp_path, again, redo=True)
    assert len(again.order) == 10
    assert all("/moco-" in folder for folder in again.order)


@pytest.mark.parametrize("encoder", ["{data}.pth", "imagenet={data}.pth", "runs/{data}"])
def test_what_a_study_is_given_is_known_by_its_content(tmp_path: Path, encoder: str) -> None:
    exported = tmp_path / "runs" / "tiny" / "exported"
    exported.mkdir(parents=True)
    (tmp_path / "ready").mkdir()
    files = [tmp_path / "tiny.pth", exported / "backbone.safetensors"]
    for file in files:
        file.write_bytes(b"one")
    (tmp_path / "ready" / "store.json").write_text('{"digest": "one"}')
    data = {"tiny": {"store": "ready", "task": "finding"}}
    study = tiny(data=data, arms={"scratch": {"encoder": "scratch"}, "given": {"encoder": encoder}})
    out = tmp_path / "out"
    run_cells(study, out, Pretended(out), root=tmp_path)
    for file in files:
        file.write_bytes(b"two")
    with pytest.raises(MedstrataError, match=r"6 finished cells.*given.*encoder_digest"):
        run_cells(study, out, Pretended(out), root=tmp_path)
    again = Pretended(out)
    run_cells(study, out, again, root=tmp_path, redo=True)
    assert len(again.order) == 6
    assert all("/given-" in folder for folder in again.order)
    (tmp_path / "ready" / "store.json").write_text('{"digest": "two"}')
    with pytest.raises(MedstrataError, match=r"14 finished cells.*store_digest 'one' -> 'two'"):
        run_cells(study, out, Pretended(out), root=tmp_path)
