"""Which runs may be compared, and the seeds of a cell brought together."""

from dataclasses import replace
from pathlib import Path

import pytest

from medstrata.report.compare.comparison import best_arms, comparisons
from medstrata.report.read.results import Finetune, Probe
from medstrata.report.read.runs import collect
from medstrata.report.render.run_summary import Summary
from support.layer_runs import probe_run
from support.predicted_runs import comparisons_in
from support.report_runs import finetune_run


def summary_with(tmp_path: Path, values: list[float], metric: str = "macro_auroc") -> Summary:
    for seed, value in enumerate(values):
        score = {metric: {"value": value, "low": value - 0.1, "high": value + 0.2}}
        test = {"images": 848, "patients": 601, "scores": score}
        finetune_run(tmp_path / f"{seed}", "moco", 0.1, seed, test=test)
    (comparison,) = comparisons_in(tmp_path)
    return comparison.column(0.1, metric)["moco"]


def test_summary_by_hand(tmp_path):
    summary = summary_with(tmp_path, [0.9, 0.5, 0.7])
    assert summary.value == pytest.approx(0.7)
    assert summary.runs == (0.5, 0.7, 0.9)
    assert summary.interval == pytest.approx((0.6, 0.9))
    assert summary.reach == pytest.approx((0.5, 0.9))


@pytest.mark.parametrize(("metric", "worse"), [("macro_auroc", 0.5), ("brier", 0.7)])
def test_even_number_of_seeds_takes_the_worse_interval(tmp_path, metric, worse):
    summary = summary_with(tmp_path, [0.7, 0.5], metric)
    assert summary.interval == pytest.approx((worse - 0.1, worse + 0.2))


def scored(value: float, low: float | None = None, high: float | None = None) -> Summary:
    interval = None if low is None or high is None else (low, high)
    return Summary(value=value, runs=(value,), interval=interval)


def test_best_follows_the_direction_of_the_metric():
    column = {"a": scored(0.2), "b": scored(0.1), "c": scored(0.2004)}
    assert best_arms(column, "macro_auroc") == {"a", "c"}
    assert best_arms(column, "brier") == {"b"}
    assert best_arms({"a": scored(0.2)}, "macro_auroc") == set()


def test_duplicates_are_named_not_averaged(tmp_path):
    finetune_run(tmp_path / "a", "moco", 0.1)
    finetune_run(tmp_path / "b", "moco", 0.1)
    runs = collect([tmp_path]).of(Finetune)
    (found,), notes = comparisons(runs)
    assert [run.files.folder.name for run in found.every] == ["a"]
    assert "same arm, task, protocol, fraction, seed and labels" in notes[0].why
    (both,), notes = comparisons([runs[0], replace(runs[0], seed=7)])
    assert (len(both.every), notes) == (2, [])


def test_the_same_cell_twice_is_shown_once(tmp_path):
    probe_run(tmp_path / "a", "moco", 0.1)
    probe_run(tmp_path / "b", "moco", 0.1)
    (comparison,), (note,) = comparisons(collect([tmp_path]).of(Probe))
    assert len(comparison.every) == 1
    assert "the same arm, task, protocol, fraction, seed and labels as" in note.why


def test_other_images_are_another_place(tmp_path):
    probe_run(tmp_path / "a", "moco", 0.1)
    probe_run(tmp_path / "b", "scratch", 0.1, store_digest="other")
    found, _ = comparisons(collect([tmp_path]).of(Probe))
    assert [one.arms for one in found] == [("moco",), ("scratch",)]
