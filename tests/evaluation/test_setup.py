"""What every evaluation begins with: its folder."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.probe import probe
from medstrata.evaluation.settings import FinetuneSettings, ProbeSettings
from medstrata.inference.predict import predict
from medstrata.runtime.errors import MedstrataError
from support.resealed import reseal


def test_finished_run_is_left_alone_and_unfinished_started_again(
    tiny_store: Store, tmp_path: Path
) -> None:
    def tuned(*, resume: bool = False) -> Path:
        settings = FinetuneSettings(protocol="frozen", resamples=50)
        out = tmp_path / "run"
        return finetune(
            "scratch",
            tiny_store,
            "finding",
            1.0,
            out,
            settings,
            backbone="test_resnet",
            resume=resume,
        )

    run = tuned()
    result, predictions = run / "result.json", pd.read_parquet(run / "predictions.parquet")
    before = result.read_bytes()
    tuned(resume=True)
    assert result.read_bytes() == before
    with pytest.raises(MedstrataError, match="already holds a run"):
        tuned()
    result.unlink()
    (run / "predictions.parquet").unlink()
    tuned(resume=True)
    pd.testing.assert_frame_equal(predictions, pd.read_parquet(run / "predictions.parquet"))


def test_test_patients_whose_labels_were_used_are_refused(
    tiny_store: Store, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.store"
    shutil.copytree(tiny_store.path, other)
    manifest = tiny_store.manifest
    swapped = manifest["split"].map({"train": "test", "test": "train", "val": "val"})
    manifest.assign(split=swapped).to_parquet(other / "manifest.parquet", index=False)
    reseal(other)
    store, out = open_store(other), tmp_path / "run"
    settings = ProbeSettings(resamples=20)
    with pytest.raises(MedstrataError, match="with labels of 10 of the 10 test patients of other"):
        probe(tuned, store, "finding", out, settings=settings)
    assert not out.exists()
    probe(tuned, store, "finding", out, settings=settings, allow_leakage=True)
    assert "scores flatter" in " ".join(capsys.readouterr().err.split())
    listed = json.loads((out / "patients.json").read_text())
    assert [len(one["hashes"]) for one in listed] == [15, 10]
    with pytest.raises(MedstrataError, match="with labels of 10 of the 10 test patients"):
        predict(tuned, store, tmp_path / "predicted.csv")
