"""What the person at the terminal sees: lines and progress bars, all on stderr."""

import os

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.table import Table


def say(message: str) -> None:
    """Print one plain line on stderr; stdout is kept for results.

    Of several processes started by torchrun or Accelerate, the first speaks for all.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    Console(stderr=True, soft_wrap=True).print(message, markup=False, emoji=False, highlight=False)


def warn(message: str) -> None:
    """Print one line on stderr, marked as a warning."""
    say(f"warning: {message}")


def show(table: Table) -> None:
    """Print a table on stderr."""
    Console(stderr=True).print(table, highlight=False)


def duration(seconds: float) -> str:
    """A time in its two largest units: 62 -> 1 min 02 s."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600:,} h {whole // 60 % 60:02d} min"


def busy(words: str) -> Status:
    """A context that shows what is being done, where stderr is a terminal, until it is over."""
    return Console(stderr=True).status(words)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A progress bar on stderr: description, bar, count, time spent and left, extra columns.

    Nothing is drawn where stderr is not a terminal.
    """
    console = Console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        *columns,
        console=console,
        disable=not console.is_terminal,
    )
