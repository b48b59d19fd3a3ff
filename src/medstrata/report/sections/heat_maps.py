"""Heat maps of one network's stages against another's."""

import math
from collections.abc import Iterator, Sequence

import matplotlib
from matplotlib import rc_context
from matplotlib.figure import Figure

from medstrata.report.compare.stages import stage_marks
from medstrata.report.read.results import Matrix, Reuse
from medstrata.report.render.figures import INK, Plot, PlotWords, page_style, plot
from medstrata.report.render.formatting import score_text
from medstrata.report.sections.reuse_tables import mean_of_known


def heat_maps(runs: Sequence[Reuse], name: str) -> Iterator[Plot]:
    """Means over the seeds of an arm that measured the same stages; nothing where none did."""
    measured = [(run.heatmap, run.stages) for run in runs if run.heatmap]
    if not measured:
        return
    stages = measured[0][1]
    maps = [heatmap for heatmap, own in measured if own == stages]
    parts = {
        "before-after": ("Before (rows) and after (columns)", [m.before_after for m in maps]),
        "before": ("Before, within", [m.before for m in maps]),
        "after": ("After, within", [m.after for m in maps]),
    }
    for part, (title, matrices) in parts.items():
        average = tuple(
            tuple(mean_of_known(values) for values in zip(*rows, strict=True))
            for rows in zip(*matrices, strict=True)
        )
        diagonal = (row[i] for i, row in enumerate(average))
        said = ", ".join("undefined" if one is None else score_text(one) for one in diagonal)
        alt = f"{title}: stages by stages; on the diagonal {said}."
        yield _heat_figure(
            average, list(stage_marks(stages).values()), PlotWords(f"{name}-{part}", title, alt)
        )


def _heat_figure(matrix: Matrix, marks: Sequence[str], words: PlotWords) -> Plot:
    """Each value printed in its cell, the first stage at the top; colours run from 0 to 1."""
    with rc_context(page_style(9)):
        figure = Figure(figsize=(2.6, 2.35))
        axes = figure.add_axes((0.2, 0.13, 0.79, 0.85))
        side = len(marks)
        axes.pcolormesh(
            [[math.nan if one is None else min(max(one, 0), 1) for one in row] for row in matrix],
            cmap=matplotlib.colormaps["cividis"],
            vmin=0,
            vmax=1,
            edgecolor="none",
        )
        for row, values in enumerate(matrix):
            for column, value in enumerate(values):
                # Black or white, whichever stands out more from the colour beneath.
                ink = INK if value is None else "#ffffff" if value < 0.55 else "#000000"
                text = "–" if value is None else f"{value:.2f}".replace("-", "−")
                axes.text(column + 0.5, row + 0.5, text, color=ink, ha="center", va="center")
        axes.set(xlim=(0, side), ylim=(side, 0))
        places = [place + 0.5 for place in range(side)]
        axes.set_xticks(places, marks)
        axes.set_yticks(places, marks)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return plot(figure, words)
