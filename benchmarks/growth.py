"""How time and memory grow with the work, each point in a process of its own, one thread.

    python benchmarks/growth.py [--quick] [--only WORD] [--again]

Time is processor time, memory the peak beyond the imports, the input included. The exponent is the
slope of the straight line through the three largest sizes on logarithmic axes. A term that grows
faster than its work shows as a slope above the exponent of the work. Points that are in the result
file already are kept (`--again` measures them anew), so that an interrupted run goes on.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from growth_points import SERIES, pretraining
from harness import RESULTS, Section, Target, held_memory, read_result, write_result
from wording import number, paragraphs, picture, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

ALLOWED = 0.15  # of a slope, above the exponent of the work
FITTED = 3  # the largest sizes, where fixed costs hide least
LONG = 10.0  # seconds from which a run is timed without a warm-up; from a tenth of it, once
LEAST_GIB = 16 / 1024  # peaks below it are what an interpreter holds by chance
PROCESSES = (1, 2)
BLUE, RED, GREY = "#0072b2", "#d55e00", "#767676"
WHY: dict[tuple[str, str], str] = {}  # (series, "time" or "memory") -> why it grows faster
Points = Mapping[str, Mapping[str, float]]  # size -> work, s, gib


def measure(name: str, size: int) -> dict[str, float]:
    """One point, in this process."""
    import medstrata.pretraining  # noqa: F401  (so that imports fall into neither figure)

    before = held_memory("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        if name == "processes":
            return pretraining(size, Path(folder))
        work, run = SERIES[name].make(size, Path(folder))
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        seconds = [_timed(run)]
        if seconds[0] < LONG:  # that was the warm-up
            seconds = [_timed(run) for _ in range(3 if seconds[0] < LONG / 10 else 1)]
        peak = held_memory("VmHWM") - before
    return {"work": work, "s": statistics.median(seconds), "gib": peak}


def _timed(run: Any) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def in_own_process(name: str, size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--point", name, str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=2, env=environment)
    found: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return found


def slope(points: Points, what: str) -> float | None:
    """Of the least-squares line on logarithmic axes; None where there is too little to see."""
    least = LEAST_GIB if what == "gib" else 0.0
    largest = sorted(points.values(), key=lambda one: one["work"])[-FITTED:]
    seen = [one for one in largest if one[what] > least]
    if len(seen) < 2:
        return None
    work, cost = ([math.log(one[key]) for one in seen] for key in ("work", what))
    return statistics.linear_regression(work, cost).slope


def sizes(name: str, *, quick: bool) -> tuple[int, ...]:
    wanted = PROCESSES if name == "processes" else SERIES[name].sizes
    return wanted[:2] if quick else wanted


def kept() -> dict[str, dict[str, dict[str, float]]]:
    if not (RESULTS / "growth.json").is_file():
        return {}
    found: dict[str, dict[str, dict[str, float]]] = read_result("growth")["series"]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="How time and memory grow with the work.")
    parser.add_argument("--quick", action="store_true", help="two sizes each, nothing written")
    parser.add_argument("--only", default="", help="series with this word in their name")
    parser.add_argument("--again", action="store_true", help="measure what was measured before")
    parser.add_argument("--point", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.point:
        print(json.dumps(measure(given.point[0], int(given.point[1]))))
        return
    results = {} if given.quick else kept()
    for name in (*SERIES, "processes"):
        if given.only not in name:
            continue
        points = results.setdefault(name, {})
        for size in sizes(name, quick=given.quick):
            if str(size) not in points or given.again:
                points[str(size)] = in_own_process(name, size)
                if not given.quick:
                    write_result("growth", {"series": results})
        show(name, points)


def show(name: str, points: Points) -> None:
    for size, point in points.items():
        print(f"{name:22}{size:>10}", *(f"{key} {value:.4g}" for key, value in point.items()))
    if name in SERIES:
        time_slope, memory_slope = (slope(points, what) for what in ("s", "gib"))
        print(f"{name:22} exponents: {time_slope:.2f}, memory {memory_slope or 0:.2f}", flush=True)


def section() -> Section:
    """Of docs/performance.md."""
    found: dict[str, Points] = read_result("growth")["series"]
    rows, targets = [], []
    for name, series in SERIES.items():
        points = found.get(name, {})
        if len(points) < 2:
            continue  # not measured yet
        ends = sorted(points.values(), key=lambda one: one["work"])
        least, most = ends[0], ends[-1]
        slopes = slope(points, "s"), slope(points, "gib")
        rows.append(
            [
                f"{series.title}, {series.axis}",
                f"{number(least['work'])} to {number(most['work'])}",
                f"{number(least['s'])} to {number(most['s'])} s",
                _power(slopes[0]),
                f"{series.time:g}",
                f"{least['gib']:.2f} to {most['gib']:.2f}",
                _power(slopes[1]),
                f"{series.memory:g}",
            ]
        )
        for what, measured, own in zip(
            ("time", "memory"), slopes, (series.time, series.memory), strict=True
        ):
            if measured is not None:
                targets.append(
                    Target(
                        f"growth of {what}: {series.title} with {series.axis}",
                        own + ALLOWED,
                        measured,
                        "exponent",
                        at_most=True,
                        why=WHY.get((name, what), ""),
                    )
                )
    head = (
        "`python benchmarks/growth.py`: each point in a process of its own, one thread, processor "
        "time; memory is the peak beyond the imports, input included. The exponent is the slope "
        f"through the {FITTED} largest sizes on logarithmic axes: 1 means twice the time for twice "
        "as much. What costs the same at any size makes it smaller. The aim: no term grows faster "
        f"than its work, that is, no exponent is more than {ALLOWED} above the work's own. Memory "
        f"below {1024 * LEAST_GIB:.0f} MiB is not fitted."
    )
    heads = ["", "from, to", "time", "exponent", "of the work"]
    shown = table([*heads, "memory, GiB", "exponent", "of the work"], rows)
    curves = picture("growth", "Time and memory of each series over the size of its work")
    parts = [head, shown, curves, *_shared(found.get("processes"))]
    return Section("Growth", paragraphs(*parts), targets, {"growth": figure(found)})


def _power(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _shared(points: Points | None) -> list[str]:
    if not points or len(points) < len(PROCESSES):
        return []
    one, two = (points[str(count)]["samples_per_s"] for count in PROCESSES)
    return [
        "Two processes of one thread each that share a batch of 64 (ResNet-18, 64 px, `torchrun`) "
        f"take {number(two)} images a second, one process {number(one)}: {two / one:.2f} times as "
        "many in wall time. The second shares memory bandwidth and the cores with the loaders."
    ]


def figure(found: Mapping[str, Points]) -> "Figure":
    """Small multiples: time and memory of each series, with the growth of the work itself."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    shown = [name for name in SERIES if len(found.get(name, {})) > 1]
    columns = 3
    rows = math.ceil(len(shown) / columns)
    style = {"font.size": 7.5, "axes.spines.top": False, "axes.linewidth": 0.7}
    with rc_context(style):
        sheet = Figure(figsize=(7.2, 1.75 * rows + 0.3), layout="constrained")
        lines: list[Line2D] = []
        for place, name in enumerate(shown):
            axes = sheet.add_subplot(rows, columns, place + 1)
            lines = _draw(axes, name, found[name])
        names = [str(line.get_label()) for line in lines]
        sheet.legend(lines, names, loc="outside upper center", ncols=3, frameon=False)
    return sheet


def _draw(axes: "Axes", name: str, points: Points) -> "list[Line2D]":
    """The lines, for the key."""
    from matplotlib.ticker import FixedLocator, NullLocator

    series = SERIES[name]
    values = sorted(points.values(), key=lambda one: one["work"])
    work, last = [one["work"] for one in values], values[-1]
    expected = [last["s"] * (x / last["work"]) ** series.time for x in work]
    seconds = [one["s"] for one in values]
    gib = [max(one["gib"], 1e-3) for one in values]
    twin = axes.twinx()
    lines = [
        *axes.plot(work, seconds, "o-", color=BLUE, ms=3.5, lw=1.3, label="time"),
        *axes.plot(work, expected, "--", color=GREY, lw=1, label="time, were it the work alone"),
        *twin.plot(work, gib, "s:", color=RED, ms=3, lw=1.2, label="memory"),
    ]
    axes.set(xscale="log", xlabel=series.axis, ylabel="time (s)")
    twin.set_ylabel("memory (GiB)")
    axes.set_title(series.title, fontsize=8, loc="left")
    axes.xaxis.set_major_locator(FixedLocator(work))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: _short(value))
    for one, shown in ((axes, seconds + expected), (twin, gib)):
        one.set_yscale("log")
        # Whole decades at least: within less, a log axis would make noise look like growth.
        low, high = (math.floor(math.log10(min(shown))), math.ceil(math.log10(max(shown))))
        one.set_ylim(10.0**low, 10.0 ** max(high, low + 1))
        one.yaxis.set_minor_locator(NullLocator())
        one.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    twin.spines["right"].set_visible(True)
    axes.grid(color="#dddddd", lw=0.5)
    return lines


def _short(value: float) -> str:
    """4096 as 4.1k, 1,000,000 as 1M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return (
                f"{value / size:.2g}{letter}"
                if value < 10 * size
                else f"{value / size:.0f}{letter}"
            )
    return f"{value:.0f}"


if __name__ == "__main__":
    main()
