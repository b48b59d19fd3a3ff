"""Scores and paired differences of runs as data frames, for those who go on computing."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from medstrata.report.compare.compare import Bench, Comparison, benches, without_duplicates
from medstrata.report.compare.differences import families
from medstrata.report.read.runs import collect


def read_benches(runs: Sequence[Path]) -> tuple[Bench, ...]:
    """Every comparison that the runs in the given folders allow, arms under their own names.

    Raises:
        MedstrataError: no run is in the given folders.
    """
    kept, _ = without_duplicates(collect(runs).finetune)
    return benches(kept, {(run.arm, run.backbone): run.arm for run in kept})


def score_frame(found: Sequence[Bench]) -> pd.DataFrame:
    """A row for each store, task, protocol, arm, fraction and metric.

    Columns `value` (mean over seeds), `low` and `high` (95 % interval of that mean over patients),
    `seeds` (how many) and `sd` (over seeds; NaN of one).
    """
    rows = [
        {
            **_where(bench, comparison),
            "arm": arm,
            "fraction": fraction,
            "metric": metric,
            "value": summary.value,
            "low": summary.interval[0] if summary.interval else None,
            "high": summary.interval[1] if summary.interval else None,
            "seeds": len(summary.seeds),
            "sd": summary.spread,
        }
        for bench in found
        for comparison in bench.comparisons
        for fraction in comparison.fractions
        for metric in bench.metrics
        for arm, summary in comparison.column(fraction, metric).items()
    ]
    return pd.DataFrame(rows)


def difference_frame(found: Sequence[Bench]) -> pd.DataFrame:
    """A row for each arm against each baseline, at each fraction: the main metric, paired.

    Columns `difference`, `low` and `high` (95 % interval over patients), `p` (permutation test),
    `p_adjusted` (Holm, over all rows of the same store, task, protocol and baseline) and `seeds`.
    """
    rows = [
        {
            **_where(bench, comparison),
            "arm": arm,
            "baseline": family.baseline,
            "fraction": fraction,
            "metric": bench.metric,
            "difference": contrast.difference.value,
            "low": contrast.difference.low,
            "high": contrast.difference.high,
            "p": contrast.difference.p_value,
            "p_adjusted": contrast.adjusted,
            "seeds": len(contrast.seeds),
        }
        for bench in found
        for comparison in bench.comparisons
        for family in families(bench, comparison)
        for (arm, fraction), contrast in family.contrasts.items()
    ]
    return pd.DataFrame(rows)


def _where(bench: Bench, comparison: Comparison) -> dict[str, str]:
    return {
        "store": bench.store.name,
        "task": bench.task.name,
        "protocol": comparison.protocol,
    }
