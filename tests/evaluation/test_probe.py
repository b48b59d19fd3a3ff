"""Probes of frozen stages, against scikit-learn."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from medstrata.data.labels import make_task
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.evaluation import probe as probing
from medstrata.evaluation import setup
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.linear_probe import fit_probe
from medstrata.evaluation.probe import probe
from medstrata.evaluation.seeded_encoder import seeded_encoder
from medstrata.evaluation.settings import FinetuneSettings, ProbeSettings
from medstrata.metrics.intervals import score
from medstrata.models.features import StoredFeatures, extract_features
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream
from support.tiny import make_folder

STAGES = ["stage1", "stage2", "stage3", "stage4", "pooled"]
QUICK = ProbeSettings(resamples=20, neighbours=7)


def run(store: Store, task: str, out: Path, **options: Any) -> Path:
    return probe(
        "scratch", store, task, out, **{"settings": QUICK, "backbone": "test_resnet", **options}
    )


def result(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


@pytest.fixture(scope="module")
def probed(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tiny_store, "finding", tmp_path_factory.mktemp("probed") / "run")


@pytest.fixture(scope="module")
def several_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two 0/1 labels, the second of them unknown for a third of the images."""
    folder = make_folder(tmp_path_factory.mktemp("several"))
    table = pd.read_csv(folder / "labels.csv")
    table["other"] = (table["grade"] > 1).astype("Int64").mask(table.index % 3 == 0)
    table.to_csv(folder / "labels.csv", index=False)
    return prepare(
        folder / "images",
        folder / "several.store",
        PrepareSettings(labels=folder / "labels.csv", split="0.5/0.25/0.25"),
    )


def features_of(store: Store, rows: NDArray[np.int64], stage: str) -> NDArray[np.float32]:
    loaded = seeded_encoder(
        EncoderSpec("scratch"),
        store,
        backbone="test_resnet",
        image_size=0,
        random_state=TorchRandomState(Stream.EVALUATED_WEIGHTS, 0),
    )
    features = extract_features(
        loaded.backbone, store, rows, loaded.preprocessing, torch.device("cpu")
    )
    return features.layers()[stage]


def predicted(frame: pd.DataFrame, read_out: str) -> NDArray[np.float64]:
    return frame.filter(regex=rf"^{read_out}\.").to_numpy()


@pytest.mark.parametrize("stage", ["stage2", "pooled"])
@pytest.mark.parametrize(("task", "kind"), [("finding", "binary"), ("grade", "multiclass")])
def test_linear_read_out_against_scikit_learn(
    tiny_store: Store, tmp_path: Path, task: str, kind: str, stage: str
) -> None:
    out = run(tiny_store, task, tmp_path / "run", kind=kind)
    penalty = result(out)["test"]["stages"][stage]["linear"]["penalty"]
    train, test = (
        features_of(tiny_store, tiny_store.rows(split), stage) for split in ("train", "test")
    )
    # In float32 its own answer is off by as much as 0.01 where the penalty is small, ours by 0.002.
    # Ours is converged as far as float32 goes: taken in float64, no entry of its gradient reaches
    # 5e-6 and its loss lies less than 1e-7 above that of scikit-learn. With more features than
    # images the loss is flat about the optimum, so that probabilities may still differ by 0.006.
    train, test = (values.astype(np.float64) for values in (train, test))
    mean, std = train.mean(0), train.std(0).clip(1e-6)
    targets = make_task(tiny_store, task).targets[tiny_store.rows("train")]
    other = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000)
    expected = other.fit((train - mean) / std, targets).predict_proba((test - mean) / std)
    ours = predicted(pd.read_parquet(out / "predictions.parquet"), f"{stage}.linear")
    np.testing.assert_allclose(ours, expected[:, 1:] if kind == "binary" else expected, atol=1e-2)


@pytest.mark.parametrize("stage", ["stage1", "pooled"])
def test_neighbours_against_scikit_learn(tiny_store: Store, probed: Path, stage: str) -> None:
    train, test = (
        features_of(tiny_store, tiny_store.rows(split), stage) for split in ("train", "test")
    )
    targets = make_task(tiny_store, "finding").targets[tiny_store.rows("train")]
    other = KNeighborsClassifier(
        7, metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)
    )
    expected = other.fit(train.astype(np.float64), targets).predict_proba(test)[:, 1:]
    ours = predicted(pd.read_parquet(probed / "predictions.parquet"), f"{stage}.knn")
    np.testing.assert_allclose(ours, expected, atol=1e-3)


def test_at_a_low_temperature_the_nearest_image_decides(tiny_store: Store, tmp_path: Path) -> None:
    cold = ProbeSettings(resamples=20, neighbours=7, temperature=1e-12)
    out = run(tiny_store, "grade", tmp_path / "run", kind="multiclass", settings=cold)
    ours = predicted(pd.read_parquet(out / "predictions.parquet"), "stage1.knn")
    train, test = (
        features_of(tiny_store, tiny_store.rows(split), "stage1").astype(np.float64)
        for split in ("train", "test")
    )
    targets = make_task(tiny_store, "grade").targets[tiny_store.rows("train")]
    other = KNeighborsClassifier(1, metric="cosine").fit(train, targets)
    np.testing.assert_allclose(ours, other.predict_proba(test), atol=1e-3)


def test_every_test_image_and_no_other_is_scored_once(tiny_store: Store, probed: Path) -> None:
    predictions = pd.read_parquet(probed / "predictions.parquet")
    expected = tiny_store.manifest.loc[tiny_store.rows("test")]
    assert predictions["sample_id"].tolist() == expected["sample_id"].tolist()
    assert predictions["patient_id"].tolist() == expected["patient_id"].tolist()
    assert set(predictions["split"]) == {"test"}
    assert predictions["target"].tolist() == expected["label.finding"].tolist()


def test_reported_scores_are_those_of_the_saved_predictions(probed: Path) -> None:
    predictions = pd.read_parquet(probed / "predictions.parquet")
    tested = result(probed)["test"]
    assert list(tested["stages"]) == STAGES
    assert tested["images"] == len(predictions)
    assert tested["patients"] == predictions["patient_id"].nunique()
    for stage, read_outs in tested["stages"].items():
        for name in ("linear", "knn"):
            values = predicted(predictions, f"{stage}.{name}")
            value = score("macro_auroc", predictions["target"].to_numpy(), values, "binary")
            assert read_outs[name]["value"] == pytest.approx(value)
            assert read_outs[name]["low"] <= value <= read_outs[name]["high"]


def test_last_read_out_is_that_of_the_frozen_protocol(
    tiny_store: Store, probed: Path, tmp_path: Path
) -> None:
    frozen = FinetuneSettings(protocol="frozen", layer="pooled", resamples=20)
    tuned = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "run", frozen, backbone="test_resnet"
    )
    theirs = pd.read_parquet(tuned / "predictions.parquet").query("split == 'test'")
    ours = predicted(pd.read_parquet(probed / "predictions.parquet"), "pooled.linear")
    assert np.array_equal(ours[:, 0], theirs["probability.1"])


def test_a_fraction_holds_what_it_holds_in_fine_tuning(tiny_store: Store, tmp_path: Path) -> None:
    settings = ProbeSettings(resamples=20, subset_seed=3)
    frozen = FinetuneSettings(protocol="frozen", resamples=20, subset_seed=3)
    probed = run(tiny_store, "finding", tmp_path / "a", fraction=0.5, settings=settings)
    tuned = finetune(
        "scratch", tiny_store, "finding", 0.5, tmp_path / "b", frozen, backbone="test_resnet"
    )
    assert (probed / "subset.csv").read_bytes() == (tuned / "subset.csv").read_bytes()
    assert len(pd.read_csv(probed / "subset.csv")) == result(probed)["subset"]["images"] < 30
    shared = ("store", "store_digest", "task", "subset", "metric", "arm", "backbone", "fraction")
    assert {key: result(probed)[key] for key in shared} == {
        key: result(tuned)[key] for key in shared
    }


@pytest.mark.parametrize(
    ("task", "kind", "metric", "classes"),
    [
        ("grade", None, "quadratic_kappa", ["0", "1", "2", "3"]),
        ("finding,other", None, "macro_auroc", ["finding", "other"]),
        ("grade: 0+1 vs 2+3", None, "macro_auroc", ["2+3"]),
    ],
)
def test_read_outs_fit_the_labels(
    several_store: Store,
    tmp_path: Path,
    task: str,
    kind: str | None,
    metric: str,
    classes: list[str],
) -> None:
    out = run(several_store, task, tmp_path / "run", kind=kind)
    assert result(out)["metric"] == metric
    predictions = pd.read_parquet(out / "predictions.parquet")
    expected = [f"{s}.{r}.{c}" for s in STAGES for r in ("linear", "knn") for c in classes]
    assert [column for column in predictions if column.split(".")[0] in STAGES] == expected
    values = predictions[expected].to_numpy()
    assert ((values >= 0) & (values <= 1)).all()
    if metric == "quadratic_kappa":
        np.testing.assert_allclose(predicted(predictions, "stage3.knn").sum(1), 1, atol=1e-5)


def test_the_encoder_stays_as_it_is(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = seeded_encoder(
        EncoderSpec("scratch"),
        tiny_store,
        backbone="test_resnet",
        image_size=0,
        random_state=TorchRandomState(Stream.EVALUATED_WEIGHTS, 0),
    )
    before = {key: value.clone() for key, value in loaded.backbone.state_dict().items()}
    loaded.backbone.train()
    monkeypatch.setattr(setup, "seeded_encoder", lambda *_, **__: loaded)
    run(tiny_store, "finding", tmp_path / "run")
    assert any("running_mean" in key for key in before)
    for key, value in loaded.backbone.state_dict().items():
        assert torch.equal(before[key], value), key


def test_equal_features_are_read_out_once(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(features: StoredFeatures, layer: str, *others: Any) -> Any:
        read.append(layer)
        return fit_probe(features, layer, *others)

    monkeypatch.setattr(probing, "fit_probe", counted)
    run(tiny_store, "finding", tmp_path / "run")
    assert read == ["stage1", "stage2", "stage3", "stage4"]
    frame = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    third, fourth, pooled = (
        predicted(frame, f"{one}.linear") for one in ("stage3", "stage4", "pooled")
    )
    assert np.array_equal(pooled, fourth)
    assert not np.array_equal(third, fourth)


def test_random_labels_are_read_out_at_chance(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(300):
        pixels = generator.integers(0, 256, (16, 16), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
    finding = generator.permutation(np.arange(300) % 2)
    files = [f"{number}.png" for number in range(300)]
    pd.DataFrame({"file": files, "patient_id": files, "finding": finding}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    store = prepare(
        tmp_path / "images",
        tmp_path / "noise.store",
        PrepareSettings(labels=tmp_path / "labels.csv", size=16, split="0.4/0.2/0.4"),
    )
    stages = result(run(store, "finding", tmp_path / "run"))["test"]["stages"]
    # The standard deviation of an AUROC of 60 against 60 is 0.053.
    for stage, read_outs in stages.items():
        for name, tested in read_outs.items():
            assert abs(tested["value"] - 0.5) < 0.16, (stage, name)


def test_finished_run_is_left_alone_and_unfinished_started_again(
    tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = run(tiny_store, "finding", tmp_path / "run")
    assert "stage3  macro_auroc  linear" in capsys.readouterr().err
    before = (out / "result.json").read_bytes()
    run(tiny_store, "finding", out, resume=True)
    assert (out / "result.json").read_bytes() == before
    with pytest.raises(MedstrataError, match="already holds a run"):
        run(tiny_store, "finding", out)
    with pytest.raises(MedstrataError, match="other settings"):
        run(tiny_store, "finding", out, fraction=0.5, resume=True)
    whole = pd.read_parquet(out / "predictions.parquet")
    (out / "result.json").unlink()
    run(tiny_store, "finding", out, resume=True)
    pd.testing.assert_frame_equal(whole, pd.read_parquet(out / "predictions.parquet"))


def test_errors_name_what_to_do(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="needs to know the network: add --backbone"):
        probe("scratch", tiny_store, "finding", tmp_path / "run")
    with pytest.raises(MedstrataError, match="fraction must be above 0"):
        run(tiny_store, "finding", tmp_path / "run", fraction=0.0)
    with pytest.raises(ValueError, match="neighbours must be 1 or more, got 0"):
        ProbeSettings(neighbours=0)
    assert not (tmp_path / "run").exists()
