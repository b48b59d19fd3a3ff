"""Reading and comparing run folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from medstrata.runs.checkpoints import checkpoints, load_checkpoint


def records(run: Path, event: str) -> list[dict[str, Any]]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["event"] == event]


def without_times(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for record in found:
        del record["time"]
    return found


def assert_equal_states(first: Any, second: Any, place: str = "") -> None:
    if isinstance(first, dict):
        assert first.keys() == second.keys(), place
        for key in first:
            assert_equal_states(first[key], second[key], f"{place}/{key}")
    elif isinstance(first, list):
        assert len(first) == len(second), place
        for one, other in zip(first, second, strict=True):
            assert_equal_states(one, other, place)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), place
    else:
        assert first == second, place


def final_state(run: Path) -> dict[str, Any]:
    state = load_checkpoint(checkpoints(run / "checkpoints")[-1])
    # The bytes of metrics.jsonl depend on how many digits the times have.
    del state["metrics_length"]
    return state


def assert_predicts_its_test_images(run: Path, predicted: Path | None) -> None:
    """Whether a file of `predict` says of a run's test images what the run itself has written."""
    assert predicted is not None
    written = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
    values = pd.read_csv(predicted, dtype={"id": str}).set_index("id")["probability.1"]
    given = values.loc[written["sample_id"]].to_numpy()
    np.testing.assert_allclose(given, written["probability.1"], atol=1e-5)
