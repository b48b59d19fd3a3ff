"""A number over runs, as tables and figures show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import stdev

from medstrata.report.render.formatting import interval_text, score_text


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What the runs of one arm reach, over seeds and draws of the labels.

    Attributes:
        value: Mean over runs.
        runs: Value of each run, ascending.
        interval: Of a score its 95 % interval over patients, None when there is none; of anything
            else the ends of the bar that is drawn.
        of_mean: Whether the interval is that of the mean over runs, computed from predictions.
            Else it is the one recorded for the run with the median score (the worse of the middle
            two when the number of runs is even).
    """

    value: float
    runs: tuple[float, ...]
    interval: tuple[float, float] | None = None
    of_mean: bool = False

    @property
    def spread(self) -> float | None:
        """Standard deviation over runs, None of one."""
        return stdev(self.runs) if len(self.runs) > 1 else None

    @property
    def reach(self) -> tuple[float, float]:
        """From the lowest to the highest of the interval's ends and the runs' values."""
        ends = (*self.runs, *(self.interval or ()))
        return min(ends), max(ends)

    @property
    def interval_notes(self) -> tuple[str, ...]:
        """What a reader must know of the interval."""
        if self.interval is None:
            return ("no interval recorded",)
        return ("interval of the median run",) if len(self.runs) > 1 and not self.of_mean else ()

    def runs_notes(self, *, narrow: bool = False) -> tuple[str, ...]:
        """How far the runs lie apart, where there are several; in a narrow column their range."""
        if self.spread is None:
            return ()
        ends = interval_text((self.runs[0], self.runs[-1]))
        deviation = "" if narrow else f"sd {score_text(self.spread)}, "
        return (f"{len(self.runs)} runs: {deviation}{ends}",)


def mean_summary(values: Sequence[float], bar: float | None = None) -> Summary:
    """The mean of several runs, with a bar of so much to both sides."""
    mean = sum(values) / len(values)
    interval = None if bar is None else (mean - bar, mean + bar)
    return Summary(value=mean, runs=tuple(sorted(values)), interval=interval)
