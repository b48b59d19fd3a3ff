"""Scores and paired differences of runs as data frames, for those who go on computing."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medstrata.report.compare.comparison import Comparison, comparisons
from medstrata.report.compare.differences import all_baselines, families
from medstrata.report.read.results import Finetune
from medstrata.report.read.runs import collect


def read_comparisons(runs: Sequence[Path]) -> tuple[Comparison[Finetune], ...]:
    """Every comparison that the fine-tuning runs in the given folders allow.

    Raises:
        MedstrataError: no run is in the given folders.
    """
    compared, _ = comparisons(collect(runs).of(Finetune))
    return compared


def score_frame(compared: Sequence[Comparison[Finetune]]) -> pd.DataFrame:
    """A row for each store, task, protocol, arm, fraction and metric.

    Columns `value` (mean over runs), `low` and `high` (95 % interval of that mean over patients),
    `runs` (how many) and `sd` (over runs; NaN of one).
    """
    rows = [
        {
            **_where(comparison),
            "arm": arm,
            "fraction": fraction,
            "metric": metric,
            "value": summary.value,
            "low": summary.interval[0] if summary.interval else None,
            "high": summary.interval[1] if summary.interval else None,
            "runs": len(summary.runs),
            "sd": summary.spread,
        }
        for comparison in compared
        for fraction in comparison.fractions
        for metric in comparison.metrics
        for arm, summary in comparison.column(fraction, metric).items()
    ]
    return pd.DataFrame(rows)


def difference_frame(
    compared: Sequence[Comparison[Finetune]], baselines: Sequence[str] = ()
) -> pd.DataFrame:
    """A row for each arm against each baseline, at each fraction: the main metric, paired.

    Columns `difference`, `low`, `high` (95 % interval), `p` and `df` (degrees of freedom), over
    patients, seeds and draws of the labels; `p_adjusted` (Holm, over all rows of the same store,
    task, protocol and baseline); `seeds`, `baseline_seeds` and `draws` (how many); `too_few` (what
    there is too little of for a verdict, else empty).
    """
    held_against = all_baselines(compared, baselines)
    rows = [
        {
            **_where(comparison),
            "arm": arm,
            "baseline": family.baseline,
            "fraction": fraction,
            "metric": comparison.metric,
            "difference": contrast.difference.value,
            "low": contrast.difference.low,
            "high": contrast.difference.high,
            "p": contrast.difference.p_value,
            "p_adjusted": contrast.adjusted,
            "df": contrast.difference.degrees_of_freedom,
            "seeds": contrast.seeds[0],
            "baseline_seeds": contrast.seeds[1],
            "draws": contrast.draws,
            "too_few": contrast.too_few,
        }
        for comparison in compared
        for family in families(comparison, held_against)
        for (arm, fraction), contrast in family.contrasts.items()
    ]
    return pd.DataFrame(rows)


def _where(comparison: Comparison[Finetune]) -> dict[str, str]:
    return {
        "store": comparison.store.name,
        "task": comparison.task.name,
        "protocol": comparison.protocol,
    }
