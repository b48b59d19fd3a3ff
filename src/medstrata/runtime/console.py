"""What the person at the terminal sees: lines and progress bars on stderr, results on stdout."""

import os
import sys
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, RenderableType
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
from rich.segment import Segment
from rich.status import Status
from rich.table import Table

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.harmless import visible


class Terminal(Console):
    """Stderr; what names of files and people would do to it is written out instead."""

    def __init__(self, *, soft_wrap: bool = False) -> None:
        super().__init__(stderr=True, soft_wrap=soft_wrap)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        """Segments of text, of which rich's own alone control the terminal."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, keep="\n"), style, control)


def say(message: str) -> None:
    """Print one plain line on stderr; stdout is kept for results.

    Of several processes started by torchrun or Accelerate, the first speaks for all.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    terminal = Terminal(soft_wrap=True)
    terminal.print(visible(message), markup=False, emoji=False, highlight=False)


def warn(message: str) -> None:
    """Print one line on stderr, marked as a warning."""
    say(f"warning: {message}")


def show(table: Table) -> None:
    """Print a table on stderr."""
    Terminal().print(table, highlight=False)


def put(text: str) -> None:
    """Write results on stdout, lines that end in a line break.

    Where whoever read them has enough of them, the process leaves with status 0.

    Raises:
        MedstrataError: stdout is closed, or cannot be written to.
    """
    if sys.stdout is None:
        raise MedstrataError("standard output is closed")
    try:
        sys.stdout.write(visible(text, keep="\n\t"))
        sys.stdout.flush()
    except OSError as error:
        # What Python would still flush goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        raise MedstrataError(f"standard output cannot be written: {error.strerror}") from error


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
    return Terminal().status(words)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A progress bar on stderr: description, bar, count, time spent and left, extra columns.

    Nothing is drawn where stderr is not a terminal.
    """
    console = Terminal()
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
