"""Decisions and curves of made-up runs against scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from medstrata.report.render.figures import arm_styles
from medstrata.report.sections.decisions import decide, decisions_section, shown_arms
from support.predicted_runs import TASKS, Patients, comparison_in, predicted_study

SCORES = {
    "Sensitivity": metrics.recall_score,
    "Precision": metrics.precision_score,
    "F1": metrics.f1_score,
}


def study(folder, kind="binary", **changes):
    made = Patients(TASKS[kind], patients=40)
    skills = {"scratch": 0.5, "moco": 2.0, "moco_bt": 1.0}
    predicted_study(folder, made, skills, fractions=(0.1, 1.0), seeds=(0, 1), **changes)
    return made, comparison_in(folder)


def youden(cut):
    return {"rule": "youden", "values": {name: {"threshold": cut} for name in ("virus", "a", "b")}}


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_scores_by_class_are_those_of_scikit_learn(tmp_path, kind):
    made, comparison = study(tmp_path, kind, thresholds=youden(0.7))
    runs = comparison.predicted("moco", 0.1)
    found = decide(comparison, runs)
    for name, judge in SCORES.items():
        expected = []
        for probability in comparison.predictions.of(runs):
            if kind == "multiclass":
                expected.append(judge(made.target, probability.argmax(axis=1), average=None))
            else:
                average = "binary" if kind == "binary" else None
                called = probability >= 0.7
                called = called[:, 0] if kind == "binary" else called
                expected.append(np.atleast_1d(judge(made.target, called, average=average)))
        assert found.scores[name][0] == pytest.approx(np.mean(expected, axis=0))
        assert found.scores[name].shape == (1001, len(expected[0]))
    if kind == "binary":
        called = [one[:, 0] >= 0.7 for one in comparison.predictions.of(runs)]
        specific = [metrics.recall_score(made.target, one, pos_label=0) for one in called]
        assert found.scores["Specificity"][0] == pytest.approx(np.mean(specific))
        matrices = [metrics.confusion_matrix(made.target, one) for one in called]
        assert found.confusion == pytest.approx(np.mean(matrices, axis=0))
        assert found.thresholds == {"virus": [0.7, 0.7]}
    if kind == "multilabel":
        assert found.confusion is None


def test_a_run_without_a_threshold_decides_at_one_half(tmp_path):
    _, comparison = study(tmp_path)
    assert decide(comparison, comparison.predicted("moco", 0.1)).thresholds["virus"] == [0.5, 0.5]


def test_the_best_arm_stands_beside_the_first_baseline(tmp_path):
    _, comparison = study(tmp_path)
    assert shown_arms(comparison, ()) == (("moco", "moco_bt"), (0.1, 1.0))
    (section,) = (decisions_section([comparison], shown(comparison), styles(comparison)),)
    _, pictures, by_class, confusion = section.parts
    assert [one.words.name.removeprefix(comparison.name) for one in pictures.plots] == [
        f"-{curve}-{share}-percent" for share in (10, 100) for curve in ("roc", "precision-recall")
    ]
    assert [row[0].text for row in by_class.rows] == ["moco", "moco_bt"] * 2
    assert [head.text for head in confusion.heads[3:]] == ["called bacteria", "called virus"]


def test_auroc_of_a_class_is_that_of_scikit_learn(tmp_path):
    made, comparison = study(tmp_path, "multiclass")
    section = decisions_section([comparison], shown(comparison), styles(comparison))
    cell = section.parts[2].rows[1][4]  # moco, 10 %, class b
    expected = [
        metrics.roc_auc_score(made.target == 1, one[:, 1])
        for one in comparison.predictions.of(comparison.predicted("moco", 0.1))
    ]
    assert cell.number == pytest.approx(np.mean(expected))
    low, high = cell.interval
    assert low < cell.number < high


def styles(comparison):

    return arm_styles(comparison.arms)


def shown(comparison):
    return {comparison.name: shown_arms(comparison, ())}


def test_few_patients_of_a_class_are_no_warning(tmp_path):
    """Many resamples lack the class, whose label is unknown of one image."""
    made = Patients(TASKS["multilabel"], patients=8)
    made.target = made.target.astype(float)
    made.target[:, 0] = 0
    made.target[:2, 0] = 1
    made.target[3, 0] = np.nan
    made.target[:, 1] = np.nan
    predicted_study(tmp_path, made, {"scratch": 1.0, "moco": 1.0}, seeds=(0,), fractions=(1.0,))
    comparison = comparison_in(tmp_path)
    section = decisions_section([comparison], shown(comparison), styles(comparison))
    assert len(section.parts[1].plots) == 2
