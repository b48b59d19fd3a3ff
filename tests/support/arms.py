"""Arms compared as the report does it: scores of each model first, then what is made of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from medstrata.metrics.intervals import mean_of_models, percentile_ends, resampled_scores, score
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.paired_difference import Difference, paired_difference
from medstrata.metrics.resampling import resample_patients
from support.plain_metrics import predictions


def noisy_arms(kind: TaskKind) -> tuple[Any, list[Any], list[Any]]:
    """Targets, two seeds of a good arm and two of one near chance."""
    target, good = predictions(kind)
    first, second = [good], list[Any]()
    for seed in range(3):
        noise = np.random.default_rng(seed + 10).random(good.shape)
        other = 0.5 * good + 0.5 * noise if seed == 0 else 0.1 * good + 0.9 * noise
        if kind in ("multiclass", "ordinal"):
            other = other / other.sum(axis=1, keepdims=True)
        (first if seed == 0 else second).append(np.round(other, 2))
    return target, first, second


def arm_scores(
    name: str, target: Any, models: Sequence[Any], kind: TaskKind, patients: Any, **options: Any
) -> list[Any]:
    """Score of each model as it is, then of each resample: (1 + R,) each."""
    resamples = resample_patients(patients, len(target), **options)
    return [
        np.append(
            score(name, target, model, kind),
            resampled_scores(name, target, model, kind, resamples),
        )
        for model in models
    ]


def mean_interval(
    name: str, target: Any, models: Sequence[Any], kind: TaskKind, patients: Any, **options: Any
) -> tuple[float, float, float]:
    """Mean score of models, and the ends of its 95 % interval over patients."""
    mean = mean_of_models(arm_scores(name, target, models, kind, patients, **options))
    low, high, _ = percentile_ends(mean[1:], 0.95)
    return float(mean[0]), low, high


def compare_arms(
    name: str,
    target: Any,
    first: Sequence[Any],
    second: Sequence[Any],
    kind: TaskKind,
    patients: Any,
    *,
    level: float = 0.95,
    **options: Any,
) -> Difference:
    """Difference of two arms, a model a seed, on one draw; `options` are resamples and seed."""
    scores, others = (
        np.stack(arm_scores(name, target, arm, kind, patients, **options))[:, None]
        for arm in (first, second)
    )
    return paired_difference(scores, others, patients=len(np.unique(patients)), level=level)
