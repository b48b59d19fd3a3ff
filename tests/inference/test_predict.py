"""Predictions for new images are those of the run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.data.tables import read_table
from medstrata.evaluation.classifier import load_classifier
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.inference import predict as predicting
from medstrata.inference.predict import predict
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
        "scratch",
        wide_store,
        task,
        1.0,
        tmp_path / "r",
        settings,
        kind=kind,
        backbone="test_resnet",
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


@pytest.fixture(scope="module")
def frozen_run(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("frozen") / "r"
    return finetune("scratch", tiny_store, "finding", 1.0, out, FROZEN, backbone="test_resnet")


def test_lines_on_standard_output_come_batch_by_batch(
    frozen_run: Path,
    tiny_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written, passed = [], predicting.forward_batches

    def watched(*given: object, **options: object) -> object:
        for rows in passed(*given, **options):  # type: ignore[arg-type]
            written.append(capsys.readouterr().out)
            yield rows

    monkeypatch.setattr(predicting, "forward_batches", watched)
    predict(frozen_run, tiny_store, "-", batch_size=25)
    lines = [text.count("\n") for text in (*written, capsys.readouterr().out)]
    assert lines == [0, 26, 25, 10]


def test_names_that_act_are_harmless_in_tables_and_lines_and_come_back(
    frozen_run: Path, tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["=cmd|'!A0.png", "'-2+3.png", "@x;=1.png", "\x1b[31mred.png", "<U+001B>.png"]
    (tmp_path / "images").mkdir()
    for number, name in enumerate(names):
        image = tiny_store.path.parent / "images" / f"{number:03d}.png"
        shutil.copy(image, tmp_path / "images" / name)
        (tmp_path / "images" / f"{name}.bad.png").write_bytes(b"no image")
    out = predict(frozen_run, tmp_path / "images", tmp_path / "p.csv")
    refused = tmp_path / "p.csv.quarantine.csv"
    for table, columns, ends in ((out, "id", ""), (refused, "source", ".bad.png")):
        text = table.read_text()
        assert "\x1b" not in text
        assert not [line for line in text.splitlines() if line.lstrip('"')[:1] in "=+-@"]
        assert sorted(read_table(table)[columns]) == sorted(name + ends for name in names)
    shown = capsys.readouterr().err
    assert "<U+001B>[31mred.png.bad.png: " in shown
    assert "\x1b" not in shown
