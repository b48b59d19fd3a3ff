import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file
from sklearn.metrics import roc_curve

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import NOTICE, _card, load_classifier
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.inference import predict as predicting
from medstrata.inference.predict import predict
from medstrata.metrics.threshold import youden
from medstrata.models.heads import Head
from medstrata.runtime.errors import MedstrataError
from support.tiny import make_folder

FULL = FinetuneSettings(epochs=2, min_steps=3, batch_size=8, resamples=10)
FROZEN = FinetuneSettings(protocol="frozen", resamples=10)


@pytest.fixture(scope="module")
def wide_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Another size than the encoder's, another fit than the usual, and two labels."""
    folder = make_folder(tmp_path_factory.mktemp("wide"))
    table = pd.read_csv(folder / "labels.csv")
    table["other"] = table["grade"].isin([1, 2]).astype(int)
    table.to_csv(folder / "labels.csv", index=False)
    return prepare(
        folder / "images",
        folder / "wide.store",
        PrepareSettings(labels=folder / "labels.csv", split="0.5/0.25/0.25", size=40, fit="crop"),
    )


TASKS = [
    ("finding", None, FULL),
    pytest.param("finding", None, FROZEN, marks=pytest.mark.slow),
    ("finding,other", None, FROZEN),
    pytest.param("grade", "multiclass", FROZEN, marks=pytest.mark.slow),
    ("grade", "ordinal", FROZEN),
]


@pytest.mark.parametrize(("task", "kind", "settings"), TASKS)
def test_predictions_are_those_of_the_run(
    wide_store: Store, tmp_path: Path, task: str, kind: str | None, settings: FinetuneSettings
) -> None:
    run = finetune(
        "scratch", wide_store, task, 1.0, tmp_path / "r", settings, kind=kind, backbone="resnet10t"
    )  # type: ignore[arg-type]
    out = predict(run, wide_store, tmp_path / "p.csv")
    found = pd.read_csv(out, dtype={"id": str, "predicted": str}).set_index("id")
    # Files give what the run's own store gives, although its size is not the network's.
    files = pd.read_csv(
        predict(run, wide_store.path.parent / "images", tmp_path / "f.csv"), dtype={"id": str}
    )
    written = pd.read_parquet(run / "predictions.parquet").set_index("sample_id")
    columns = [name for name in written if name.startswith("probability.")]
    assert [name for name in found if name.startswith("probability.")] == columns
    np.testing.assert_allclose(found.loc[written.index, columns], written[columns], atol=1e-6)
    assert len(found) == len(wide_store)
    np.testing.assert_allclose(files[columns], found[columns], atol=1e-6)
    # Another batch changes the last bits of features, which a steep head shows.
    other = pd.read_csv(predict(run, wide_store, tmp_path / "o.csv", batch_size=9))
    np.testing.assert_allclose(other[columns], found[columns], atol=1e-5)
    classes = load_classifier(run).classes
    values = found[columns].to_numpy()
    points = json.loads((run / "result.json").read_text())["thresholds"]["values"]
    if task == "finding":
        yes = values[:, 0] >= points["1"]["threshold"]
        assert found["predicted"].tolist() == [classes[int(each)] for each in yes]
        assert len(set(found["predicted"])) == 2
    elif kind is None:
        for number, name in enumerate(classes):
            yes = values[:, number] >= points[name]["threshold"]
            assert found[f"predicted.{name}"].tolist() == yes.astype(int).tolist()
    else:
        assert points == {}
        assert found["predicted"].tolist() == [classes[each] for each in values.argmax(axis=1)]


def test_threshold_and_its_numbers_are_those_of_validation(
    tiny_store: Store, tmp_path: Path
) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FULL, backbone="resnet10t"
    )
    point = json.loads((run / "result.json").read_text())["thresholds"]["values"]["1"]
    model = json.loads((run / "exported" / "model.json").read_text())
    assert model["thresholds"]["values"]["1"] == point
    frame = pd.read_parquet(run / "predictions.parquet").query("split == 'val'")
    yes, true = frame["probability.1"] >= point["threshold"], frame["target"] == 1
    assert point["sensitivity"] == pytest.approx(yes[true].mean())
    assert point["specificity"] == pytest.approx((~yes[~true]).mean())
    assert (point["positives"], point["negatives"]) == (true.sum(), (~true).sum())


def test_youden_against_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        truth = draw.random(30) < 0.4
        values = np.round(draw.random(30) * 0.6 + 0.4 * truth, 1).astype(np.float32)
        point = youden(truth, values)
        false, right, _ = roc_curve(truth, values, drop_intermediate=False)
        inner = (right - false)[1:-1]
        assert point.sensitivity + point.specificity - 1 == pytest.approx(inner.max())  # type: ignore[operator]
        yes = values >= point.threshold
        assert point.sensitivity == pytest.approx(yes[truth].mean())
        assert point.specificity == pytest.approx((~yes[~truth]).mean())


def test_youden_by_hand_and_at_its_edges() -> None:
    truth = np.array([False, False, True, True])
    assert youden(truth, np.array([0.1, 0.2, 0.4, 0.9])) == (pytest.approx(0.3), 1.0, 1.0, 2, 2)
    # 0.15 and 0.45 are equally good: the one nearer to 0.5.
    values = np.array([0.1, 0.3, 0.2, 0.6])
    assert youden(truth, values).threshold == pytest.approx(0.45)
    assert youden(np.array([True, True]), np.array([0.1, 0.2])) == (0.5, 0.0, None, 2, 0)
    assert youden(truth, np.full(4, 0.7)) == (0.5, 1.0, 0.0, 2, 2)


def test_a_stranger_can_use_what_is_exported(tiny_store: Store, tmp_path: Path) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FULL, backbone="resnet10t"
    )
    assert not (run / "checkpoints").exists()
    assert NOTICE in (run / "exported" / "README.md").read_text()
    model = timm.create_model("resnet10t", num_classes=0, in_chans=1).eval()
    model.load_state_dict(load_file(run / "exported" / "backbone.safetensors"))
    head = torch.nn.Linear(512, 1)
    head.load_state_dict(load_file(run / "exported" / "head.safetensors"))
    facts = json.loads((run / "exported" / "model.json").read_text())["preprocessing"]
    rows = tiny_store.rows("test")
    pixels = torch.from_numpy(tiny_store.read(rows)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        values = head(model((pixels - facts["mean"][0]) / facts["std"][0])).sigmoid()
    written = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
    np.testing.assert_allclose(values[:, 0], written["probability.1"], atol=1e-5)


def test_a_run_whose_encoder_has_changed_is_refused(tiny_store: Store, tmp_path: Path) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FROZEN, backbone="resnet10t"
    )
    state = torch.get_rng_state()
    load_classifier(run)
    assert torch.equal(state, torch.get_rng_state())
    path = run / "exported" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 5}))
    with pytest.raises(MedstrataError, match="was fitted on another encoder"):
        load_classifier(run)
    path.write_text("{}")
    with pytest.raises(MedstrataError, match="is damaged"):
        load_classifier(run)
    path.unlink()
    with pytest.raises(MedstrataError, match="give a finished run of `finetune`"):
        predict(run, tiny_store, tmp_path / "p.csv")


def test_lines_on_standard_output_come_batch_by_batch(
    tiny_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FROZEN, backbone="resnet10t"
    )
    capsys.readouterr()
    written, passed = [], predicting.forward_batches

    def watched(*given: object, **options: object) -> object:
        for rows in passed(*given, **options):  # type: ignore[arg-type]
            written.append(capsys.readouterr().out)
            yield rows

    monkeypatch.setattr(predicting, "forward_batches", watched)
    predict(run, tiny_store, "-", batch_size=25)
    lines = [text.count("\n") for text in (*written, capsys.readouterr().out)]
    assert lines == [0, 26, 25, 10]


def test_head_standardises() -> None:
    weight, bias = torch.tensor([[2.0, -1.0]]), torch.tensor([0.5])
    features = torch.tensor([[3.0, 4.0]])
    assert Head(weight, bias)(features).item() == 2.5
    mean, std = torch.tensor([1.0, 2.0]), torch.tensor([2.0, 4.0])
    assert Head(weight, bias, mean, std)(features).item() == 2 * 1 - 0.5 + 0.5


def test_names_of_classes_are_text_in_the_readme() -> None:
    hostile = "</td><img src=x onerror=alert(1)> [x](http://e.vil) | b\n# head"
    model = {
        "task": {"name": hostile, "kind": "binary", "classes": ["no", hostile]},
        "head": {"weight": [1, 8]},
        "architecture": "resnet10t",
        "encoder": "../a`b",
        "preprocessing": {"channels": 1},
        "thresholds": {"values": {hostile: {
            "threshold": 0.5, "sensitivity": 1.0, "specificity": 1.0, "positives": 1,
            "negatives": 1,
        }}},
    }  # fmt: skip
    card = _card(model)
    assert "<img" not in card
    assert "](http" not in card
    assert [line for line in card.splitlines() if line.startswith("# ")] == [card.splitlines()[0]]
    (row,) = (line for line in card.splitlines() if "| 0.5000 |" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
