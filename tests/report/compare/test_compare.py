import json
from dataclasses import replace
from pathlib import Path

import pytest

from medstrata.report.compare.comparison import Comparison, best, comparisons
from medstrata.report.compare.conclusions import conclusions, headline
from medstrata.report.compare.gaps import score_gaps
from medstrata.report.read.facts import Note
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.read.runs import collect
from medstrata.report.render.figures import arm_styles
from medstrata.report.render.formatting import counted, duration, listed, percent, score_text, span
from medstrata.report.render.summary import Summary
from medstrata.report.sections import curves
from support.report_runs import FRACTIONS, TASK, finetune_run, pretrain_run


def found_in(folder: Path) -> tuple[Comparison, ...]:
    found, _ = comparisons(collect([folder]).of(Finetune))
    return found


def gaps_in(folder: Path) -> list[Note]:
    return list(score_gaps(collect([folder]).of(Pretrain), found_in(folder)))


def scored(value: float, low: float | None = None, high: float | None = None) -> Summary:
    interval = None if low is None or high is None else (low, high)
    return Summary(value=value, seeds=(value,), interval=interval)


def summary_with(tmp_path: Path, values: list[float], metric: str = "macro_auroc") -> Summary:
    for seed, value in enumerate(values):
        score = {metric: {"value": value, "low": value - 0.1, "high": value + 0.2}}
        test = {"images": 848, "patients": 601, "scores": score}
        finetune_run(tmp_path / f"{seed}", "moco", 0.1, seed, test=test)
    (comparison,) = found_in(tmp_path)
    return comparison.column(0.1, metric)["moco"]


def test_summary_by_hand(tmp_path):
    summary = summary_with(tmp_path, [0.9, 0.5, 0.7])
    assert summary.value == pytest.approx(0.7)
    assert summary.seeds == (0.5, 0.7, 0.9)
    assert summary.interval == pytest.approx((0.6, 0.9))
    assert summary.reach == pytest.approx((0.5, 0.9))


@pytest.mark.parametrize(("metric", "worse"), [("macro_auroc", 0.5), ("brier", 0.7)])
def test_even_number_of_seeds_takes_the_worse_interval(tmp_path, metric, worse):
    summary = summary_with(tmp_path, [0.7, 0.5], metric)
    assert summary.interval == pytest.approx((worse - 0.1, worse + 0.2))


def test_best_follows_the_direction_of_the_metric():
    column = {"a": scored(0.2), "b": scored(0.1), "c": scored(0.2004)}
    assert best(column, "macro_auroc") == {"a", "c"}
    assert best(column, "brier") == {"b"}
    assert best({"a": scored(0.2)}, "macro_auroc") == set()


def write_scores(folder: Path, scores: dict[str, tuple[float, float, float]]) -> Path:
    for arm, (value, low, high) in scores.items():
        score = {"macro_auroc": {"value": value, "low": low, "high": high}}
        test = {"images": 848, "patients": 601, "scores": score}
        finetune_run(folder / arm, arm, 0.01, test=test)
    return folder


@pytest.mark.parametrize(
    ("scores", "sentences"),
    [
        (
            {"a": (0.9, 0.85, 0.95), "b": (0.7, 0.6, 0.8), "c": (0.5, 0.4, 0.6)},
            "The interval of a lies clear of those of both other arms.",
        ),
        (
            {"a": (0.9, 0.75, 0.95), "b": (0.7, 0.6, 0.8), "c": (0.5, 0.4, 0.6)},
            "The interval of a overlaps that of b, so the order among these is not settled; it "
            "lies clear of that of c.",
        ),
        (
            {"a": (0.9, 0.75, 0.95), "b": (0.7, 0.6, 0.75)},
            "The interval of a overlaps that of b, so which arm is best is not settled.",
        ),
    ],
)
def test_findings_claim_no_more_than_the_intervals(tmp_path, scores, sentences):
    found = found_in(write_scores(tmp_path, scores))
    ((_, said),) = conclusions(found[0])
    assert sentences in said
    assert "One seed only: every arm." in said
    text = headline(found, {}).replace("\N{NARROW NO-BREAK SPACE}", " ")
    assert text.startswith(
        "With 1 % of the labels (30 images of 22 patients) and the whole network fine-tuned, a "
        f"has the highest macro AUROC of {len(scores)} arms: 0.900 (95 % interval over patients "
    )
    assert text.endswith(sentences)


def test_seeds_that_touch_forbid_a_claim(tmp_path):
    """Intervals of the median runs apart, but one seed of b reaches up to a."""
    rows = {"a": [0.9, 0.9, 0.9], "b": [0.5, 0.5, 0.89]}
    for arm, values in rows.items():
        for seed, value in enumerate(values):
            score = {"macro_auroc": {"value": value, "low": value - 0.02, "high": value + 0.02}}
            test = {"images": 848, "patients": 601, "scores": score}
            finetune_run(tmp_path / f"{arm}{seed}", arm, 0.01, seed, test=test)
    found = found_in(tmp_path)
    assert "which arm is best is not settled" in headline(found, {})
    assert "the mean of 3 seeds" in headline(found, {})


def test_missing_interval_and_lone_arm_are_said(tmp_path):
    score = {"macro_auroc": {"value": 0.9, "low": None, "high": None}}
    test = {"images": 848, "patients": 601, "scores": score}
    finetune_run(tmp_path / "a", "a", 0.1, test=test)
    found = found_in(tmp_path)
    assert headline(found, {}).startswith("At no label fraction do two arms have a score")
    assert "nothing to compare with" in conclusions(found[0])[0][1]
    finetune_run(tmp_path / "b", "b", 0.1)
    found = found_in(tmp_path)
    assert "An interval is missing" in headline(found, {})


def test_only_like_is_compared(tmp_path):
    finetune_run(tmp_path / "a", "a", 0.1)
    finetune_run(tmp_path / "b", "b", 0.1, task={**TASK, "name": "other"})
    finetune_run(tmp_path / "c", "c", 0.1, store_digest="0f")
    assert sorted(one.arms for one in found_in(tmp_path)) == [("a",), ("b",), ("c",)]
    notes = [(one.what, one.why) for one in gaps_in(tmp_path)]
    assert any(w == "other on cxr.store: a and c" and "another task" in why for w, why in notes)


def test_unlike_subsets_are_a_caution(tmp_path):
    finetune_run(tmp_path / "a", "a", 0.1)
    run = finetune_run(tmp_path / "b", "b", 0.1)
    assert gaps_in(tmp_path) == []
    lines = (run / "subset.csv").read_text().split()
    (run / "subset.csv").write_text("\n".join([lines[0], *reversed(lines[1:])]))
    assert gaps_in(tmp_path) == []
    (run / "subset.csv").write_text("\n".join([*lines[:-1], "another"]))
    (note,) = gaps_in(tmp_path)
    assert "different labelled images" in note.why


def test_duplicates_are_named_not_averaged(tmp_path):
    finetune_run(tmp_path / "a", "moco", 0.1)
    finetune_run(tmp_path / "b", "moco", 0.1)
    runs = collect([tmp_path]).of(Finetune)
    (found,), notes = comparisons(runs)
    assert [run.files.folder.name for run in found.every] == ["a"]
    assert "same arm, task, protocol, fraction and seed" in notes[0].why
    (both,), notes = comparisons([runs[0], replace(runs[0], seed=7)])
    assert (len(both.every), notes) == (2, [])


def test_pretrained_arm_without_scores_is_named(tmp_path):
    pretrain_run(tmp_path / "pre", "moco", epochs=1)
    finetune_run(tmp_path / "a", "scratch", 0.1)
    notes = gaps_in(tmp_path)
    assert "no fine-tuning run of this arm was given" in notes[0].why


# Curves


def test_curves_count_epochs_from_one_and_follow_penalties(tmp_path, monkeypatch):
    drawn = {}

    def keep(lines, words, **axis):
        drawn[words.name] = ([(list(line.x), list(line.y)) for line in lines], axis)

    monkeypatch.setattr(curves, "curve_figure", keep)
    for protocol in ("full", "frozen"):
        run = finetune_run(tmp_path / protocol, "moco", 0.1, protocol=protocol)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        lines[1]["train_loss"] = None
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for comparison in found_in(tmp_path):
        list(curves.finetune_curves(comparison, arm_styles(["moco"])))
    start = "subtype-cxr-store"
    [(x, y)], axis = drawn[f"{start}-full-training-10-percent-loss"]
    assert x == [*range(1, 11)]
    assert y[:2] == [pytest.approx(0.69), None]
    assert not axis["log_x"]
    [(x, _)], axis = drawn[f"{start}-frozen-training-10-percent-score"]
    assert x == pytest.approx([1e-4, 1e-3, 1e-2, 0.1, 1, 10])
    assert axis["log_x"]


# Words


def test_words():
    thin = "\N{NARROW NO-BREAK SPACE}"
    assert [percent(one) for one in (*FRACTIONS, 0.005, 0.0625)] == [
        f"{text}{thin}%" for text in ("1", "10", "100", "0.5", "6.25")
    ]
    assert score_text(-0.1234) == "−0.123"
    assert [span([3]), span([3, 3]), span([1200, 3])] == ["3", "3", "3–1,200"]
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [counted(1, "arm"), counted(2000, "arm")] == ["1 arm", "2,000 arms"]
    assert [
        duration(one).replace(thin, " ").replace("\N{NO-BREAK SPACE}", " ")
        for one in (12.4, 185, 7500)
    ] == [
        "12 s",
        "3 min 05 s",
        "2 h 05 min",
    ]
