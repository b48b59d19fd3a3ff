"""The snippets of docs/guide/use.md run as they stand; frames and figures say what runs say."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import medstrata as ms
from medstrata.runtime.errors import MedstrataError
from support.snippets import snippets
from support.tiny import make_store


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cxr.store and two runs, as the page has them."""
    place = tmp_path_factory.mktemp("page")
    store = make_store(place)
    store.path.rename(place / "cxr.store")
    store = ms.open_store(place / "cxr.store")
    settings = ms.recipe(
        "fair/moco_mse",
        backbone="test_resnet",
        epochs=2,
        batch_size=8,
        contrastive={"queue_size": 20},
    )
    ms.pretrain(store, settings, place / "runs" / "mse")
    frozen = ms.FinetuneSettings(protocol="frozen", resamples=20)
    run = place / "runs" / "mse-1pct"
    ms.finetune(str(place / "runs" / "mse"), store, "finding", 0.5, run, frozen)
    return place


def test_snippets_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    made: dict[str, object] = {}
    for code in snippets("guide/use.md"):
        exec(compile(code, "docs/guide/use.md", "exec"), made)  # noqa: S102
    assert made["features"].shape == (60, 96)  # type: ignore[attr-defined]
    assert made["metadata"]["encoder"] == "moco_mse"  # type: ignore[index]
    assert isinstance(made["figure"], Figure)
    assert isinstance(made["overview"], Figure)


def test_results_are_those_of_the_runs(place: Path) -> None:
    frame = ms.results([place / "runs"]).set_index("kind")
    result = json.loads((place / "runs" / "mse-1pct" / "result.json").read_text())
    tested = result["test"]["scores"]["macro_auroc"]
    row = frame.loc["finetune"]
    assert [row["value"], row["low"], row["high"]] == list(tested.values())
    assert (row["task"], row["fraction"], row["metric"]) == ("finding", 0.5, "macro_auroc")
    assert row["score.brier"] == result["test"]["scores"]["brier"]["value"]
    assert frame.loc["pretrain", "arm"] == "moco_mse"
    assert np.isnan(frame.loc["pretrain", "value"])


def test_metrics_are_the_records(place: Path) -> None:
    run = place / "runs" / "mse"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["event"] == "epoch"]
    frame = ms.run_metrics(run)
    assert frame["step"].tolist() == [line["step"] for line in epochs]
    assert len(ms.run_metrics(run, "step")) == len([x for x in lines if x["event"] == "step"])
    with pytest.raises(MedstrataError, match="no record of 'nothing'"):
        ms.run_metrics(run, "nothing")
    with pytest.raises(MedstrataError, match=r"no metrics.jsonl"):
        ms.run_metrics(place)


def test_figures_draw_the_numbers(place: Path) -> None:
    run = place / "runs" / "mse-1pct"
    figure = ms.plot_metrics(run, ["val_score"])
    (line,) = figure.axes[0].lines
    assert line.get_ydata().tolist() == ms.run_metrics(run)["val_score"].tolist()
    with pytest.raises(MedstrataError, match="has no nonsense; it has"):
        ms.plot_metrics(run, ["nonsense"])
    (axis,) = ms.plot_results([place / "runs"]).axes
    assert axis.lines[0].get_ydata().tolist() == [ms.results([place / "runs"])["value"].dropna()[1]]


def test_a_store_shows_itself_with_nothing_but_text(place: Path) -> None:
    store = ms.open_store(place / "cxr.store")
    assert "60 images" in repr(store)
    store.label_columns["<script>"] = store.label_columns["finding"]
    shown = store._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert "finding" in shown
