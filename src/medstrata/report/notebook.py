"""Runs as data frames and figures, for those who work in a notebook."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.report.compare.comparison import arm_order, comparisons
from medstrata.report.read.results import Atlas, Finetune
from medstrata.report.read.runs import collect
from medstrata.report.render.figure_files import add_key, set_print_colours
from medstrata.report.render.figures import arm_styles, page_style
from medstrata.report.render.formatting import metric_name
from medstrata.report.render.summary_figures import draw_fractions
from medstrata.runs.metrics_log import read_metrics
from medstrata.runtime.errors import MedstrataError

# What every kind of run has, and then what only some have.
_FIRST = ("run", "kind", "arm", "backbone", "store", "task", "protocol", "fraction", "seed")


def results(runs: Sequence[Path | str]) -> pd.DataFrame:
    """Every finished run in some folders, a row each, in the order of their names.

    Args:
        runs: Run folders, or folders that hold run folders at any depth.

    Returns:
        Columns run, kind, arm, backbone, store, task, protocol, fraction, seed, metric, and of
        fine-tuning runs value, low and high of the main metric on test (95 % interval over
        patients), images and patients tested, and `score.<name>` of every metric; missing where a
        kind of run has no such thing.

    Raises:
        MedstrataError: no run is in the given folders.
    """
    rows = []
    for run in collect([Path(run) for run in runs]).runs:
        task = getattr(run, "task", None)
        row = {
            "run": run.files.name,
            "kind": type(run).__name__.lower(),
            "store": run.store.name,
            "task": None if task is None else task.name,
        }
        for name in ("arm", "backbone", "protocol", "fraction", "seed", "metric", "seconds"):
            row[name] = getattr(run, name, None)
        row["protocol"] = row["protocol"] or None
        if isinstance(run, Atlas):  # it used no labels
            row["fraction"] = None
        test = getattr(run, "test", None)
        scores = getattr(test, "scores", {})
        main = scores.get(row["metric"])
        if main is not None:
            low, high = main.interval or (None, None)
            row |= {"value": main.value, "low": low, "high": high}
            for name in ("images", "patients"):
                row[f"test_{name}"] = getattr(test, name)
            row |= {f"score.{name}": score.value for name, score in scores.items()}
        rows.append(row)
    frame = pd.DataFrame(rows)
    return frame[[*_FIRST, *(name for name in frame if name not in _FIRST)]]


def run_metrics(run: Path | str, event: str = "epoch") -> pd.DataFrame:
    """What a run has written while it trained, a row for each record.

    Args:
        run: Its folder; it need not be finished.
        event: Which records: "epoch", or of a pre-training run also "step".

    Returns:
        A column for each number; nested ones as `group.name`.

    Raises:
        MedstrataError: the folder has no metrics.jsonl, or no such record in it.
    """
    path = Path(run) / "metrics.jsonl"
    if not path.is_file():
        raise MedstrataError(f"no metrics.jsonl in {run}; give the folder of a run that trains")
    frame = pd.json_normalize(list(read_metrics(path, event)))
    if frame.empty:
        raise MedstrataError(f"{path} has no record of {event!r} yet")
    return frame


def plot_metrics(run: Path | str, columns: Sequence[str] | None = None) -> Figure:
    """Draw what a run has written after each epoch or validation, one panel a number.

    Args:
        run: Its folder.
        columns: Of `run_metrics`; by default every one that varies, times left out.
    """
    frame = run_metrics(run)
    numbers = (
        frame.rename(columns=str)
        .select_dtypes("number")
        .drop(columns=["epoch", "validation", "step"], errors="ignore")
    )
    if columns is None:
        varying = numbers.loc[:, (numbers.nunique() > 1) | (len(frame) == 1)]
        columns = [name for name in map(str, varying) if not name.startswith("time.")]
    missing = [name for name in columns if name not in numbers]
    if missing or not columns:
        raise MedstrataError(
            f"{run} has no {', '.join(missing)}; it has {', '.join(map(str, numbers))}"
        )
    counted = "validation" if "validation" in frame else "epoch"
    figure = Figure(figsize=(6, 1.8 * len(columns)), layout="constrained")
    panels = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, columns, strict=True):
        panel.plot(frame[counted], numbers[name], marker="o", markersize=3)
        panel.set_ylabel(name)
    panels[-1].set_xlabel(counted)
    return figure


def plot_results(runs: Sequence[Path | str]) -> Figure:
    """Draw the main test score of fine-tuning runs over the share of labels, as the report does.

    One panel for each store, task and protocol; for each arm a line through the means over seeds,
    the 95 % intervals over patients, and a ring for each seed where there are several.

    Raises:
        MedstrataError: no fine-tuning run has its score.
    """
    compared, _ = comparisons(collect([Path(run) for run in runs]).of(Finetune))
    panels = [(one, columns) for one in compared if (columns := one.columns(one.metric))]
    if not panels:
        raise MedstrataError("no fine-tuning run in the given folders has a score")
    styles = arm_styles(arm_order(arm for comparison in compared for arm in comparison.arms))
    with rc_context(page_style(9.5)):
        figure = Figure(figsize=(6, 3.5 * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        for axis, (comparison, columns) in zip(axes, panels, strict=True):
            draw_fractions(axis, columns, styles)
            axis.set_title(comparison.heading, parse_math=False)
            axis.set_ylabel(metric_name(comparison.metric), parse_math=False)
        add_key(figure, styles, loc="outside lower center")
    set_print_colours(figure)
    return figure
