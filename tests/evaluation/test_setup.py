"""What every evaluation begins with: its folder."""

from pathlib import Path

import pandas as pd
import pytest

from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.runtime.errors import MedstrataError


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
