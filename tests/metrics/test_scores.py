"""Every metric, against scikit-learn or by hand."""

from typing import Any

import numpy as np
import pytest

from medstrata.metrics.intervals import score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import METRICS, metrics_of_kind, primary_metric
from support.plain_metrics import CASES, KINDS, PLAIN, counted, predictions

RANKING = ("macro_auroc", "average_precision", "sensitivity_at_90")


def value(name: str, target: Any, probability: Any, kind: TaskKind) -> float:
    return score(name, np.asarray(target), np.asarray(probability, dtype=np.float64), kind)


def test_every_metric_is_compared():
    assert set(PLAIN) == set(METRICS) == {name for name, _ in CASES}


@pytest.mark.parametrize(("name", "kind"), CASES)
@pytest.mark.parametrize("seed", range(2))
def test_equals_scikit_learn(name: str, kind: TaskKind, seed: int):
    target, probability = predictions(kind, 200, seed)
    plain = PLAIN[name](target, probability, kind)
    assert score(name, target, probability, kind) == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_weights_of_one_and_scaled_weights_change_nothing(name: str, kind: TaskKind):
    target, probability = predictions(kind)
    plain = METRICS[name](target, probability, kind)
    weights = np.array([[1.0], [0.1], [7.0]]) * np.ones(60)
    assert plain.shape == (1,)
    np.testing.assert_allclose(
        METRICS[name](target, probability, kind, counted(*weights)), plain.repeat(3), atol=1e-12
    )


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_samples_of_weight_zero_count_nothing(name: str, kind: TaskKind):
    target, probability = predictions(kind)
    weights = np.ones((1, 60))
    weights[0, 40:] = 0
    kept = METRICS[name](target[:40], probability[:40], kind)
    scored = METRICS[name](target, probability, kind, counted(*weights))
    np.testing.assert_allclose(scored, kept, atol=1e-12)
    assert np.isnan(METRICS[name](target, probability, kind, counted(np.zeros(60)))).all()


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_order_of_samples_is_irrelevant(name: str, kind: TaskKind):
    target, probability = predictions(kind)
    order = np.random.default_rng(2).permutation(60)
    shuffled = score(name, target[order], probability[order], kind)
    assert shuffled == pytest.approx(score(name, target, probability, kind), abs=1e-12)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_stays_in_range_and_knows_the_perfect_prediction(name: str, kind: TaskKind):
    lowest = -1.0 if name == "quadratic_kappa" else 0.0
    highest = 2.0 if name == "brier" and kind in ("multiclass", "ordinal") else 1.0
    worst_is_high = name in ("brier", "ece")
    for seed in range(5):
        target, probability = predictions(kind, 30, seed)
        wrong = probability[:, ::-1] if probability.shape[1] > 1 else 1 - probability
        assert lowest <= score(name, target, wrong, kind) <= highest
        assert lowest <= score(name, target, probability, kind) <= highest
    if kind in ("multiclass", "ordinal"):
        perfect = np.eye(probability.shape[1])[target]
    else:
        perfect = np.nan_to_num(target).reshape(probability.shape).astype(np.float64)
    assert score(name, target, perfect, kind) == (0.0 if worst_is_high else 1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_probabilities_are_scored_alike(kind: TaskKind):
    target, probability = predictions(kind)
    probability = np.abs(probability - 0.001)  # away from the edges of the calibration bins
    for name in metrics_of_kind(kind):
        single = score(name, target, probability.astype(np.float32), kind)
        assert single == pytest.approx(score(name, target, probability, kind), abs=1e-6)


# Worked by hand.


def test_auroc_by_hand():
    # Positives .8 and .4 against negatives .4 and .1: pairs 1, 1, a tie of 1/2, 1.
    assert value("macro_auroc", [1, 1, 0, 0], [[0.8], [0.4], [0.4], [0.1]], "binary") == 3.5 / 4
    # The tied negative drawn three times: (3 + 1 + 3 / 2 + 1) of 8 pairs.
    scored = METRICS["macro_auroc"](
        np.array([1, 1, 0, 0]),
        np.array([[0.8], [0.4], [0.4], [0.1]]),
        "binary",
        counted([1, 1, 3, 1]),
    )
    assert scored.tolist() == [6.5 / 8]


def test_average_precision_by_hand():
    # Ranks: +, -, +. Precision 1 at the first positive, 2/3 at the second.
    three = [[0.9], [0.5], [0.1]]
    assert value("average_precision", [1, 0, 1], three, "binary") == pytest.approx(5 / 6)
    # One threshold takes all in: precision is the share of positives.
    tied = [[0.5], [0.5], [0.5], [0.5]]
    assert value("average_precision", [1, 0, 0, 0], tied, "binary") == 0.25


def test_sensitivity_by_hand():
    # Ten negatives at 0.1 ... 1.0: one may pass. A threshold of 0.95 lets one through, 0.9 two.
    negatives = np.arange(1, 11) / 10
    target = [0] * 10 + [1] * 4
    apart = np.append(negatives, [0.95, 0.91, 0.85, 0.2])
    assert value("sensitivity_at_90", target, apart[:, None], "binary") == 2 / 4
    # A positive level with the second negative is let through with it, which is one too many.
    level = np.append(negatives, [0.95, 0.9, 0.85, 0.2])
    assert value("sensitivity_at_90", target, level[:, None], "binary") == 1 / 4
    # Of nine negatives none may pass: one is more than 10 %.
    fewer = np.append(negatives[1:], [0.95, 0.91, 0.85, 1.0])
    assert value("sensitivity_at_90", target[1:], fewer[:, None], "binary") == 0.0
    # The threshold moves with the resample: without the highest negative one more may pass.
    counts = [2] + [1] * 8 + [0] + [1] * 4
    scored = METRICS["sensitivity_at_90"](
        np.array(target), level[:, None], "binary", counted(counts)
    )
    assert scored.tolist() == [3 / 4]


@pytest.mark.parametrize("count", [10, 30, 70, 110])
def test_sensitivity_allows_exactly_ten_percent(count: int):
    # The highest tenth of the negatives stands above every positive; whole and fractional counts.
    scores = np.append(np.arange(count), np.full(3, 0.9 * count - 0.5))[:, None] / count
    target = np.append(np.zeros(count, dtype=int), [1, 1, 1])
    every = np.ones(count + 3)
    for counts in (every.astype(np.uint8), 0.1 * every, 0.7 * every, 1e-3 * every):
        found = METRICS["sensitivity_at_90"](target, scores, "binary", counted(counts))
        assert found.tolist() == [pytest.approx(1.0)]
    more = np.where(np.arange(count + 3) == count - 1, 2, 1)
    assert METRICS["sensitivity_at_90"](target, scores, "binary", counted(more)).tolist() == [0.0]


def test_macro_f1_by_hand():
    # Class 1: tp 1, fp 1, fn 1; class 0: tp 2, fp 1, fn 1. A probability of 0.5 predicts class 1.
    probability = [[0.5], [0.7], [0.2], [0.3], [0.4]]
    expected = (2 / 4 + 4 / 6) / 2
    assert value("macro_f1", [1, 0, 1, 0, 0], probability, "binary") == pytest.approx(expected)


def test_quadratic_kappa_by_hand():
    # Grades 0 1 2 predicted 0 1 1: cost 1; by chance (0+1+1 + 1+0+0 + 4+1+1) / 3 = 3.
    assert value("quadratic_kappa", [0, 1, 2], np.eye(3)[[0, 1, 1]], "ordinal") == pytest.approx(
        1 - 1 / 3
    )
    # Reversed grades agree worse than chance: 1 - 8 / 4.
    assert value("quadratic_kappa", [0, 1, 2], np.eye(3)[[2, 1, 0]], "ordinal") == pytest.approx(-1)


def test_accuracies_by_hand():
    probability = np.eye(2)[[0, 0, 0, 0, 1]]
    target = [0, 0, 0, 1, 1]
    assert value("accuracy", target, probability, "multiclass") == pytest.approx(4 / 5)
    assert value("balanced_accuracy", target, probability, "multiclass") == pytest.approx(3 / 4)
    assert value("accuracy", target, probability[:, 1:], "binary") == pytest.approx(4 / 5)


def test_brier_by_hand():
    assert value("brier", [1, 0], [[0.8], [0.4]], "binary") == pytest.approx((0.04 + 0.16) / 2)
    probability = [[0.5, 0.3, 0.2]]
    assert value("brier", [0], probability, "multiclass") == pytest.approx(0.25 + 0.09 + 0.04)


def test_ece_by_hand():
    # Bin (.6, .667]: probabilities .62 and .66, one of two true: gap .14. Bin (.8667, .9333]: .9,
    # false: gap .9. Weights 2/3 and 1/3.
    target, probability = [1, 0, 0], [[0.62], [0.66], [0.9]]
    assert value("ece", target, probability, "binary") == pytest.approx(0.14 * 2 / 3 + 0.9 / 3)
    # Bins are closed above: .2 and .19 share (2/15, 3/15], so their errors cancel.
    assert value("ece", [1, 0], [[0.2], [0.19]], "binary") == pytest.approx(0.5 - 0.195)
    # Only the predicted class counts: .7, wrong.
    assert value("ece", [1, 1], [[0.7, 0.3], [0.7, 0.3]], "multiclass") == pytest.approx(0.7)


# Invariances.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RANKING)
def test_ranking_metrics_see_only_the_order(name: str, kind: TaskKind):
    target, probability = predictions(kind)
    bent = probability**3 / 2 + 0.1
    assert score(name, target, bent, kind) == score(name, target, probability, kind)


def test_flipped_labels_mirror_auroc():
    target, probability = predictions("binary")
    flipped = score("macro_auroc", 1 - target, probability, "binary")
    assert flipped == pytest.approx(1 - score("macro_auroc", target, probability, "binary"))


def test_flipped_classes_leave_macro_f1_and_brier():
    target, probability = predictions("binary")
    probability += 0.001  # away from the threshold
    for name in ("macro_f1", "accuracy", "balanced_accuracy", "brier"):
        flipped = score(name, 1 - target, 1 - probability, "binary")
        assert flipped == pytest.approx(score(name, target, probability, "binary"))


def test_two_grades_of_kappa_are_symmetric_in_target_and_prediction():
    target, probability = predictions("ordinal")
    chosen = probability.argmax(axis=1)
    mirrored = score("quadratic_kappa", chosen, np.eye(5)[target], "ordinal")
    assert mirrored == pytest.approx(score("quadratic_kappa", target, probability, "ordinal"))


# Undefined classes and unknown labels.


@pytest.mark.parametrize("name", metrics_of_kind("multilabel"))
def test_unknown_labels_are_left_out(name: str):
    target, probability = predictions("multilabel")
    garbled = np.where(np.isnan(target), 1 - probability, probability)
    assert score(name, target, garbled, "multilabel") == score(
        name, target, probability, "multilabel"
    )
    single = [
        METRICS[name](truth[~np.isnan(truth), None], column[~np.isnan(truth), None], "multilabel")
        for truth, column in zip(target.T, probability.T, strict=True)
    ]
    assert score(name, target, probability, "multilabel") == pytest.approx(np.mean(single))


@pytest.mark.parametrize(
    ("name", "only"),
    [*((name, 0) for name in (*RANKING, "macro_f1")), *((name, 1) for name in RANKING)],
)
def test_a_label_of_one_value_leaves_the_macro_mean(name: str, only: int):
    target, probability = predictions("multilabel")
    without = target.copy()
    without[:, 1] = np.where(np.isnan(target[:, 1]), np.nan, only)
    kept = [0, 2]
    assert score(name, without, probability, "multilabel") == pytest.approx(
        score(name, target[:, kept], probability[:, kept], "multilabel")
    )


@pytest.mark.parametrize("name", [*RANKING, "quadratic_kappa"])
def test_one_class_alone_is_undefined(name: str):
    kind: TaskKind = "ordinal" if name == "quadratic_kappa" else "binary"
    probability = np.eye(3)[[0, 0]] if kind == "ordinal" else np.full((2, 1), 0.3)
    with pytest.raises(ValueError, match=f"{name} is not defined for these 2 samples"):
        score(name, np.zeros(2, dtype=np.int64), probability, kind)


# Names and errors.


def test_defaults_fit_their_kind():
    assert [primary_metric(kind) for kind in KINDS] == [
        "macro_auroc",
        "macro_f1",
        "macro_auroc",
        "quadratic_kappa",
    ]
    assert all(primary_metric(kind) in metrics_of_kind(kind) for kind in KINDS)
    assert metrics_of_kind("ordinal") == tuple(METRICS)


def test_unknown_names_fail_with_the_valid_ones():
    target, probability = predictions("binary")
    with pytest.raises(ValueError, match=r"unknown metric 'auc': use one of macro_auroc, .*, ece"):
        score("auc", target, probability, "binary")
    with pytest.raises(ValueError, match=r"unknown kind of task 'regression': use one of binary,"):
        primary_metric("regression")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"no meaning for multilabel tasks: use one of macro_auroc"
    ):
        score("accuracy", *predictions("multilabel"), "multilabel")


@pytest.mark.parametrize(
    ("target", "probability", "kind", "message"),
    [
        ([0, 1], [0.1, 0.9], "binary", r"shape \(2,\) do not go with targets of shape \(2,\)"),
        ([0, 1], [[0.1, 0.9]] * 2, "binary", r"binary: class 1 alone"),
        ([0, 1, 1], [[0.1, 0.9]] * 2, "multiclass", r"one row per sample"),
        ([[0, 1]], [[0.1, 0.9, 0.3]], "multilabel", r"one column per class or label"),
        ([], np.zeros((0, 1)), "binary", r"one or more samples"),
        ([0, 1], [[0.1], [np.nan]], "binary", r"must lie in 0..1 and be finite"),
        ([0, 1], [[-3.0], [4.0]], "binary", r"apply the sigmoid or softmax to logits"),
        ([0, -1], [[0.1], [0.2]], "binary", r"binary task hold -1: .*leave out samples of unknown"),
        ([0, 2], [[0.1, 0.9]] * 2, "ordinal", r"ordinal task hold 2"),
        ([[0, 0.5]], [[0.1, 0.9]], "multilabel", r"multilabel task hold 0.5"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    target: Any, probability: Any, kind: TaskKind, message: str
):
    with pytest.raises(ValueError, match=message) as caught:
        value("brier", target, probability, kind)
    assert "\n" not in str(caught.value)
