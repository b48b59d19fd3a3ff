"""Runs as data frames and figures, for those who work in a notebook."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from medstrata.report.read.results import Atlas
from medstrata.report.read.runs import collect
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
    """Draw what a run has written after each epoch, one panel a number.

    Args:
        run: Its folder.
        columns: Of `run_metrics`; by default every one that varies, times left out.
    """
    frame = run_metrics(run)
    numbers = (
        frame.rename(columns=str)
        .select_dtypes("number")
        .drop(columns=["epoch", "step"], errors="ignore")
    )
    if columns is None:
        columns = [
            name
            for name in map(str, numbers)
            if not name.startswith("time.") and (len(frame) == 1 or numbers[name].nunique() > 1)
        ]
    missing = [name for name in columns if name not in numbers]
    if missing or not columns:
        raise MedstrataError(
            f"{run} has no {', '.join(missing)}; it has {', '.join(map(str, numbers))}"
        )
    figure = Figure(figsize=(6, 1.8 * len(columns)), layout="constrained")
    panels = figure.subplots(len(columns), 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, columns, strict=True):
        panel.plot(frame["epoch"], numbers[name], marker="o", markersize=3)
        panel.set_ylabel(name)
    panels[-1].set_xlabel("epoch")
    return figure


def plot_results(runs: Sequence[Path | str]) -> Figure:
    """Draw the main test score of fine-tuning runs over the fraction of labels.

    One panel for each store, task and protocol; a line for each arm and backbone through the means
    over seeds, a point for each run.

    Raises:
        MedstrataError: there is no fine-tuning run.
    """
    frame = results(runs)
    frame = frame[frame["kind"] == "finetune"]
    if frame.empty:
        raise MedstrataError("no fine-tuning run in the given folders")
    panels = list(frame.groupby(["store", "task", "protocol"]))
    figure = Figure(figsize=(6, 3.2 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (names, part) in zip(axes, panels, strict=True):
        for arm, lines in part.groupby(["arm", "backbone"]):
            means = lines.groupby("fraction")["value"].mean()
            (line,) = axis.plot(means.index, means, label=" ".join(map(str, arm)))
            axis.scatter(lines["fraction"], lines["value"], color=line.get_color(), s=12)
        axis.set_xscale("log")
        axis.set_title(", ".join(map(str, names)))
        axis.set_xlabel("fraction of the labels")
        axis.set_ylabel(part["metric"].iloc[0])
        axis.legend()
    return figure
