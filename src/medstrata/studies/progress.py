"""What a study shows while it runs: cells, times, and the table as it fills."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from medstrata.runs.folder import read_config
from medstrata.runs.metrics_log import read_metrics
from medstrata.runtime.console import Terminal, duration, say
from medstrata.studies.plan import StudyCell


class Progress:
    """Lines where stderr is no terminal, a display that renews itself where it is.

    Args:
        cells: Every cell of the study.
        out: Its folder.
        slots: Cells that run at a time.
    """

    def __init__(self, cells: list[StudyCell], out: Path, slots: int) -> None:
        self._cells, self._out, self._slots = cells, out, slots
        self._done: set[StudyCell] = set()
        self._failed: set[StudyCell] = set()
        self._running: dict[StudyCell, float] = {}
        self._pace = CellDurations()
        self._scores = Scores()
        self._started = time.perf_counter()
        console = Terminal()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def finished_before(self, cell: StudyCell, result: Mapping[str, Any] | None) -> None:
        """A cell was finished before."""
        self._done.add(cell)
        self._record(cell, result)

    def started(self, cell: StudyCell) -> None:
        """A cell runs now."""
        self._running[cell] = time.perf_counter()

    def finished(self, cell: StudyCell, result: Mapping[str, Any] | None) -> None:
        """A cell ended well."""
        seconds = time.perf_counter() - self._running.pop(cell)
        self._done.add(cell)
        self._record(cell, result)
        if self._live is None:
            score = self._scores.line(cell, result)
            say(
                f"[{len(self._done)}/{len(self._cells)}] {cell}: {score}{seconds:.0f} s; "
                f"{self._remaining()}"
            )

    def failed(self, cell: StudyCell, why: str) -> None:
        """A cell was given up, or cannot be run."""
        self._running.pop(cell, None)
        self._failed.add(cell)
        self.note(f"{cell} failed: {why}")

    def retried(self, cell: StudyCell, why: str) -> None:
        """A cell failed and is tried once more."""
        self._running.pop(cell, None)
        self.note(f"{cell} is tried again: {why}")

    def note(self, line: str) -> None:
        """Say something that stays."""
        if self._live is None:
            say(line)
        else:
            self._live.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def refresh(self) -> None:
        """Draw the present state."""
        if self._live is not None:
            self._live.update(Group(*self._render()), refresh=True)

    def tables(self) -> list[Table]:
        """Mean scores so far, a table for each data set and protocol."""
        return self._scores.tables()

    def _record(self, cell: StudyCell, result: Mapping[str, Any] | None) -> None:
        if result is not None:
            self._pace.add(cell, float(result["seconds"]))
            self._scores.add(cell, result)

    def _remaining(self) -> str:
        waiting = [cell for cell in self._cells if cell not in self._done | self._failed]
        seconds = self._pace.seconds(waiting)
        if seconds is None:
            return f"{len(waiting)} cells left"
        return f"about {duration(seconds / self._slots)} left"

    def _render(self) -> Iterable[RenderableType]:
        elapsed = duration(time.perf_counter() - self._started)
        failed = f", {len(self._failed)} failed" if self._failed else ""
        yield Text(
            f"{len(self._done)} of {len(self._cells)} cells{failed}; {elapsed}, {self._remaining()}"
        )
        for cell, since in self._running.items():
            spent = duration(time.perf_counter() - since)
            yield Text(f"  {cell}: {_epoch(self._out / cell.folder)}{spent}")
        yield from self.tables()


class CellDurations:
    """How long cells take, learnt from those of their like."""

    def __init__(self) -> None:
        self._seen: dict[tuple[object, ...], list[float]] = defaultdict(list)

    def add(self, cell: StudyCell, seconds: float) -> None:
        """Learn from a finished cell."""
        for key in _alike(cell):
            self._seen[key].append(seconds)

    def seconds(self, cells: Iterable[StudyCell]) -> float | None:
        """What cells will take one after another, None if the like of one was never seen."""
        total = 0.0
        for cell in cells:
            known = [self._seen[key] for key in _alike(cell) if key in self._seen]
            if not known and cell.kind != "prepare":
                return None
            total += statistics.median(known[0]) if known else 0.0
        return total


def _alike(cell: StudyCell) -> list[tuple[object, ...]]:
    """From the most to the least alike."""
    kind, arm, share = cell.kind, cell.arm, cell.fraction
    return [(kind, cell.data, arm, share), (kind, arm, share), (kind, share), (kind,)]


class Scores:
    """Test scores by data set, protocol, arm and fraction, a number for each run."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str, str], dict[str, dict[float, list[float]]]] = {}

    def add(self, cell: StudyCell, result: Mapping[str, Any]) -> None:
        """Take a fine-tuning's score in; other cells have none."""
        if cell.fraction is not None and cell.kind in ("full", "frozen"):
            same = ", the share of validation too" if cell.validation == "same" else ""
            key = (cell.data, f"{cell.kind}{same}", result["metric"])
            group = self._values.setdefault(key, {})
            place = group.setdefault(cell.arm, {}).setdefault(cell.fraction, [])
            place.append(_score(result))

    def line(self, cell: StudyCell, result: Mapping[str, Any] | None) -> str:
        """The score within a sentence."""
        if result is None or cell.kind not in ("full", "frozen"):
            return ""
        return f"{result['metric']} {_score(result):.3f}, "

    def tables(self) -> list[Table]:
        """A table for each data set and protocol: arms by fractions, mean over runs so far."""
        made = []
        for (data, protocol, metric), arms in self._values.items():
            fractions = sorted({one for scores in arms.values() for one in scores})
            table = Table(title=f"{data}, {protocol}: {metric}", title_justify="left")
            table.add_column("arm")
            for fraction in fractions:
                table.add_column(f"{100 * fraction:g} %", justify="right")
            for arm, scores in arms.items():
                table.add_row(arm, *(_mean(scores.get(one, [])) for one in fractions))
            made.append(table)
        return made


def _score(result: Mapping[str, Any]) -> float:
    return float(result["test"]["scores"][result["metric"]]["value"])


def _mean(values: list[float]) -> str:
    if not values:
        return "-"
    several = f" ({len(values)} runs)" if len(values) > 1 else ""
    return f"{sum(values) / len(values):.3f}{several}"


def _epoch(folder: Path) -> str:
    """How far a run in training is."""
    try:
        wanted = int(read_config(folder / "config.yaml")["epochs"])
        records = sum(1 for _ in read_metrics(folder / "metrics.jsonl", "epoch"))
    except (OSError, KeyError, ValueError, TypeError):
        return ""
    return f"epoch {min(records + 1, wanted)} of {wanted}, "
