"""Fine-tuning: what is scored, saved, chosen and refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
from safetensors.torch import save_file

from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.probe import probe
from medstrata.evaluation.settings import FinetuneSettings, ProbeSettings
from medstrata.metrics.intervals import score
from medstrata.metrics.metric import metrics_of_kind
from medstrata.report.page import write_report
from medstrata.runtime.errors import MedstrataError

QUICK = FinetuneSettings(min_steps=3, batch_size=8, resamples=50)
# As the paper tunes: one learning rate, a head that starts at zero.
PAPER = replace(QUICK, head="zero", lr=1e-3)
FROZEN = FinetuneSettings(protocol="frozen", layer="pooled", resamples=50)


def result(run: Path) -> dict:  # type: ignore[type-arg]
    return json.loads((run / "result.json").read_text())


def test_every_test_image_is_scored_once(tiny_store: Store, tuned: Path) -> None:
    predictions = pd.read_parquet(tuned / "predictions.parquet")
    for split in ("val", "test"):
        part = predictions[predictions["split"] == split]
        expected = tiny_store.manifest.loc[tiny_store.rows(split), "sample_id"]
        assert part["sample_id"].tolist() == expected.tolist()
    assert predictions["probability.1"].between(0, 1).all()


def test_reported_score_is_that_of_the_saved_predictions(tuned: Path) -> None:
    predictions = pd.read_parquet(tuned / "predictions.parquet").query("split == 'test'")
    value = score(
        "macro_auroc",
        predictions["target"].to_numpy(),
        predictions[["probability.1"]].to_numpy(),
        "binary",
    )
    tested = result(tuned)["test"]["scores"]["macro_auroc"]
    assert tested["value"] == pytest.approx(value)
    assert tested["low"] <= tested["value"] <= tested["high"]


def test_subset_is_saved_and_holds_training_patients_only(tiny_store: Store, tuned: Path) -> None:
    subset = pd.read_csv(tuned / "subset.csv", dtype=str)
    train = tiny_store.manifest.loc[tiny_store.rows("train")]
    assert sorted(subset["sample_id"]) == sorted(train["sample_id"])
    others = tiny_store.manifest.loc[
        np.concatenate([tiny_store.rows("val"), tiny_store.rows("test")])
    ]
    assert not set(subset["patient_id"]) & set(others["patient_id"])


def test_same_subset_for_every_arm(tiny_store: Store, encoder: Path, tmp_path: Path) -> None:
    first = finetune(
        "scratch", tiny_store, "finding", 0.5, tmp_path / "a", FROZEN, backbone="test_resnet"
    )
    second = finetune(str(encoder), tiny_store, "finding", 0.5, tmp_path / "b", FROZEN)
    assert (first / "subset.csv").read_bytes() == (second / "subset.csv").read_bytes()
    assert (result(first)["arm"], result(second)["arm"]) == ("scratch", "moco_mse")


@pytest.mark.parametrize(
    ("task", "kind", "metric", "columns"),
    [
        ("grade", None, "quadratic_kappa", 4),
        ("grade", "multiclass", "macro_f1", 4),
        ("finding,grade: 0 vs 1", None, None, 0),
        ("grade: 0+1 vs 2+3", None, "macro_auroc", 1),
    ],
)
def test_loss_and_metric_fit_the_labels(
    tiny_store: Store, tmp_path: Path, task: str, kind: str | None, metric: str | None, columns: int
) -> None:
    if metric is None:
        with pytest.raises(MedstrataError):
            finetune(
                "scratch", tiny_store, task, 1.0, tmp_path / "run", FROZEN, backbone="test_resnet"
            )
        return
    run = finetune(
        "scratch",
        tiny_store,
        task,
        1.0,
        tmp_path / "run",
        FROZEN,
        kind=kind,
        backbone="test_resnet",
    )  # type: ignore[arg-type]
    assert result(run)["metric"] == metric
    predictions = pd.read_parquet(run / "predictions.parquet")
    assert sum(name.startswith("probability.") for name in predictions) == columns


def test_figures_of_the_papers_code_stand_beside_the_right_ones(
    tiny_store: Store, tuned: Path, tmp_path: Path
) -> None:
    def run(folder: str, settings: FinetuneSettings) -> Path:
        out = tmp_path / folder
        return finetune(
            "scratch", tiny_store, "finding", 1.0, out, settings, backbone="test_resnet"
        )

    # One epoch is both the best and the last; of several, the last is that of no other epoch.
    one = result(run("one", replace(PAPER, epochs=1, legacy=True)))
    right = {name: value["value"] for name, value in one["test"]["scores"].items()}
    assert one["legacy"]["last_epoch"] == right
    both = result(run("both", replace(PAPER, epochs=3, lr=3e-3, legacy=True)))
    chosen = both["test"]["scores"]["brier"]["value"]
    assert both["best_validation"] < 2
    assert both["legacy"]["last_epoch"]["brier"] != chosen
    assert both["legacy"]["interval"]["brier"]["value"] == chosen
    wide, narrow = both["test"]["scores"]["brier"], both["legacy"]["interval"]["brier"]
    assert 0 < narrow["high"] - narrow["low"] < (wide["high"] - wide["low"]) / 10
    assert both["legacy"]["interval"].keys() == both["test"]["scores"].keys()
    frozen = result(run("frozen", replace(FROZEN, protocol="frozen", legacy=True)))
    assert set(frozen["legacy"]) == {"interval"}
    assert not result(tuned)["legacy"]


def test_local_imagenet_file_is_an_arm(tiny_store: Store, tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=10)
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    run = finetune(
        f"imagenet={tmp_path / 'weights.safetensors'}",
        tiny_store,
        "finding",
        1.0,
        tmp_path / "run",
        FROZEN,
        backbone="test_resnet",
    )
    assert result(run)["arm"] == "imagenet"


def test_errors_name_what_to_do(tiny_store: Store, encoder: Path, tmp_path: Path) -> None:
    def run(encoder: str, **options: object) -> None:
        finetune(encoder, tiny_store, "finding", 1.0, tmp_path / "run", FROZEN, **options)  # type: ignore[arg-type]

    with pytest.raises(MedstrataError, match="needs to know the network: add --backbone"):
        run("scratch")
    with pytest.raises(MedstrataError, match="is not a run folder; give a finished"):
        run(str(tmp_path))
    with pytest.raises(MedstrataError, match="holds a test_resnet, not a resnet18"):
        run(str(encoder), backbone="resnet18")
    with pytest.raises(MedstrataError, match="fraction must be above 0"):
        finetune(
            "scratch", tiny_store, "finding", 0.0, tmp_path / "run", FROZEN, backbone="test_resnet"
        )
    assert not (tmp_path / "run").exists()


def test_a_metric_of_somebody_elses_package_chooses_and_is_told(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sharp_scores.py").write_text(
        "import numpy as np\n\n\n"
        "def sharp(target, probability, weights):\n"
        "    return -np.average(np.abs(probability[:, 0] - target), weights=weights)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = replace(FROZEN, metric="sharp_scores:sharp")
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", settings, backbone="test_resnet"
    )
    found = result(run)
    assert found["metric"] == "sharp_scores:sharp"
    assert set(found["test"]["scores"]) == {*metrics_of_kind("binary"), "sharp_scores:sharp"}
    own = found["test"]["scores"]["sharp_scores:sharp"]
    assert own["low"] < own["value"] < own["high"] < 0
    tried = [
        json.loads(line)["val_score"] for line in (run / "metrics.jsonl").read_text().splitlines()
    ]
    assert found["val"]["value"] == max(tried) == tried[found["best_validation"]]
    probed = probe(
        "scratch",
        tiny_store,
        "finding",
        tmp_path / "p",
        settings=ProbeSettings(resamples=20, metric="sharp_scores:sharp"),
        backbone="test_resnet",
    )
    cell = result(probed)["test"]["stages"]["pooled"]["linear"]
    assert (cell["value"], cell["val"]) == pytest.approx((own["value"], found["val"]["value"]))
    page = write_report([run, probed], tmp_path / "report.html")
    assert "sharp_scores:sharp" in page.read_text()
    with pytest.raises(ValueError, match="unknown metric 'auc'"):
        finetune(
            "scratch",
            tiny_store,
            "finding",
            1.0,
            tmp_path / "x",
            replace(FROZEN, metric="auc"),
            backbone="test_resnet",
        )
    assert not (tmp_path / "x").exists()
