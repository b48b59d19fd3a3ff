"""The folder beside a page that holds its tables and figures as files."""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from medstrata.report.render.contents import Contents
from medstrata.report.render.figure_files import write_figure
from medstrata.report.render.figures import Style
from medstrata.report.render.table_files import csv_text, latex_text
from medstrata.runtime.console import progress_bar
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text

_INDEX = "index.json"
# Nothing but names that this module gives is ever removed, whatever an index says.
_OURS = re.compile(r"tables/[a-z0-9-]+\.(csv|tex)|figures/[a-z0-9-]+\.(pdf|png)")


def check_folder(folder: Path) -> None:
    """Make sure that a folder is ours to write in: new, empty, or written by an earlier report.

    Raises:
        MedstrataError: it holds something else.
    """
    ours = not folder.exists() or (
        folder.is_dir() and ((folder / _INDEX).is_file() or not any(folder.iterdir()))
    )
    if not ours:
        raise MedstrataError(
            f"{folder} exists and was not written by a report: move it away, write the report "
            "elsewhere, or leave the files out with --no_files"
        )


def write_files(folder: Path, contents: Contents, styles: Mapping[str, Style]) -> None:
    """Write every table, and figures where they are asked for, each whole or not at all.

    Those of an earlier report that are no longer made are removed.

    Args:
        folder: As `check_folder` allowed.
        contents: What the page shows.
        styles: Arm -> style, for the keys of the figures.
    """
    earlier = _listed(folder)
    tables = {f"tables/{one.file}.{kind}" for one in contents.tables for kind in ("csv", "tex")}
    plots = contents.plots if contents.figures else []
    figures = {f"figures/{one.file}.{kind}" for one in plots for kind in ("pdf", "png")}
    for part in ("tables", "figures"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    # Written before the files, so that none is left unlisted when this is cut off.
    _write_index(folder, tables | figures | earlier)
    for one in contents.tables:
        write_text(folder / "tables" / f"{one.file}.csv", csv_text(one.shown))
        write_text(folder / "tables" / f"{one.file}.tex", latex_text(one.shown, one.file))
    with progress_bar() as bar:
        for plot in bar.track(plots, description="writing figures"):
            write_figure(folder / "figures", plot.file, plot.shown, styles)
    for name in earlier - tables - figures:
        (folder / name).unlink(missing_ok=True)
    _write_index(folder, tables | figures)


def _listed(folder: Path) -> set[str]:
    """The files of an earlier report; none where its index cannot be read."""
    try:
        names = read_json(folder / _INDEX)["files"]
        return {name for name in names if _OURS.fullmatch(name)}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _write_index(folder: Path, names: set[str]) -> None:
    index = {"about": "files of a medstrata report, which it may replace", "files": sorted(names)}
    write_text(folder / _INDEX, json.dumps(index, indent=1) + "\n")
