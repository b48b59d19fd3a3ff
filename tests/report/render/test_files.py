"""The tables and figures of the report as files."""

import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from matplotlib import rc_context
from matplotlib.figure import Figure
from PIL import Image

from medstrata.cli.main import main
from medstrata.report.page import write_report
from medstrata.report.render.contents import Contents
from medstrata.report.render.figure_files import write_figure
from medstrata.report.render.figures import (
    INK,
    MUTED,
    RULE,
    PlotWords,
    arm_styles,
    page_style,
    plot,
    tag_artists,
)
from medstrata.report.render.formatting import slug
from medstrata.report.render.table_files import csv_text, latex_text
from medstrata.report.render.tables import Cell, Table, text_cells, unique_names
from medstrata.runtime.errors import MedstrataError
from support.report_page import HOSTILE, Page
from support.report_runs import finetune_run

SPECIAL = "100% a_b & #1 $x$ {y} ~ ^ \\ <z> |"


def table(*rows, heads=("Arm", "Score"), **changes) -> Table:
    facts = {"name": "scores", "caption": "Scores", "note": ""} | changes
    return Table(heads=text_cells(*heads), rows=rows, **facts)


@pytest.fixture
def scores():
    """A score with everything, and none."""
    full = Cell(
        text="−0.123",
        number=-0.12345678901234567,
        interval=(-0.25, 0.5),
        notes=("2 seeds: −0.2 to 0.1", 'x, "y"'),
        best=True,
    )
    return table(
        (Cell(text=SPECIAL, arm=SPECIAL), full),
        (Cell(text="[b]"), Cell(text="no score")),
        (Cell(text="* c"), Cell(text="1,200", number=1200)),
    )


# CSV


def test_csv_comes_back_through_pandas(scores):
    read = pd.read_csv(io.StringIO(csv_text(scores)))
    assert list(read) == ["Arm", "Score", "Score: low", "Score: high", "Score: notes"]
    assert list(read["Arm"]) == [SPECIAL, "[b]", "* c"]
    assert read["Score"][0] == -0.12345678901234567
    assert read["Score"].isna().tolist() == [False, True, False]
    assert read["Score"][2] == 1200
    assert (read["Score: low"][0], read["Score: high"][0]) == (-0.25, 0.5)
    assert read["Score: notes"][0] == '2 seeds: -0.2 to 0.1; x, "y"'
    assert read["Score: notes"][1] == "no score"


def test_csv_has_one_line_a_row_whatever_is_in_it():
    text = csv_text(table(tuple(text_cells("a\r\nb", "c\N{NO-BREAK SPACE}d\ne"))))
    assert text == "Arm,Score\na b,c d e\n"


def test_whole_numbers_stay_whole():
    assert csv_text(table((Cell(text="a"), Cell(text="1,200", number=1200)))).endswith("1200\n")


# LaTeX


def test_latex_escapes_what_it_would_obey(scores):
    text = latex_text(scores, "scores")
    assert (
        r"100\% a\_b \& \#1 \$x\$ \{y\} \textasciitilde{} \textasciicircum{} "
        r"\textbackslash{} \textless{}z\textgreater{} \textbar{} & "
    ) in text
    assert r"\textbf{$-$0.123} [$-$0.250, 0.500] (2 seeds: $-$0.2 to 0.1; " in text


def test_latex_rows_end_and_none_begins_with_an_option(scores):
    text = latex_text(scores, "scores")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:-1]
    assert len(body) == 3
    assert all(line.endswith(r" \\") for line in body)
    assert [len(re.findall(r"(?<!\\)&", line)) for line in body] == [1, 1, 1]
    assert body[1].strip().startswith("{[}b]")
    assert body[2].strip().startswith("{*} c")


def test_latex_is_balanced_and_has_caption_and_label(scores):
    text = latex_text(scores, "a-table")
    for environment in ("table", "tabular"):
        assert text.count(rf"\begin{{{environment}}}") == 1
        assert text.count(rf"\end{{{environment}}}") == 1
    assert r"\caption{Scores}" in text
    assert r"\label{tab:a-table}" in text
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    assert r"\toprule" in text


def test_columns_of_bare_numbers_stand_to_the_right(scores):
    assert r"\begin{tabular}{ll}" in latex_text(scores, "n")
    bare = table((Cell(text="a"), Cell(text="1", number=1)), (Cell(text="b"), Cell(text="–")))
    assert r"\begin{tabular}{lr}" in latex_text(bare, "n")


# Names


def test_names_of_files():
    assert slug("Ünder_score", "A/B ../c") == "under-score-a-b-c"
    assert slug("心") == "unnamed"
    assert len(slug("x" * 300)) == 60
    assert unique_names(["a", "b", "a", "a", "a-2"]) == ["a", "b", "a-2", "a-3", "a-2-2"]


# Figures


def drawn(arm: str = "$moco"):
    styles = arm_styles([arm, "other"])
    with rc_context(page_style(9)):
        figure = Figure(figsize=(3, 2))
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
        tag_artists(axes.plot([0, 1], [0, 1], color=styles[arm].colour), styles[arm])
        axes.grid(color=RULE)
        axes.text(0.5, 0.5, "words", color=MUTED)
        axes.scatter([0.2, 0.8], [0.8, 0.2], c=[INK, RULE])
        axes.fill_between([0, 0.2], 0.6, 0.9, color=RULE, alpha=0.5)
        return plot(figure, PlotWords("p", "A $title", "A line")), styles


def test_figures_are_whole_documents_without_dates(tmp_path):
    made, styles = drawn()
    write_figure(tmp_path, "f", made, styles)
    pdf = (tmp_path / "f.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert b"Date" not in pdf
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.pdf", "f.png"]
    with Image.open(tmp_path / "f.png") as image:
        assert image.info["dpi"][0] == pytest.approx(300, abs=0.1)
        assert image.width > 3 * 300
        # Wider and higher than the drawing: title and key stand above it.
        assert image.height > 2.3 * 300


def test_figures_are_ink_on_white(tmp_path):
    made, styles = drawn()
    write_figure(tmp_path, "f", made, styles)
    with Image.open(tmp_path / "f.png") as image:
        colours = {colour[:3] for _, colour in image.convert("RGBA").getcolors(1 << 24)}
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    stand_ins = {tuple(bytes.fromhex(one[1:])) for one in (INK, MUTED, RULE)}
    assert not colours & stand_ins
    # Ink, rule, and rule laid over white at half its strength.
    assert {(0, 0, 0), (208, 208, 208), (231, 231, 231)} <= colours


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_figure(tmp_path, name, *drawn())
    for kind in ("pdf", "png"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_key_names_only_the_arms_drawn(tmp_path):
    made, styles = drawn("_心")
    write_figure(tmp_path, "f", made, styles)
    (key,) = made.figure.legends
    assert [text.get_text().strip() for text in key.get_texts()] == ["_心"]


# The folder


@pytest.fixture
def runs(tmp_path):
    for arm in ("scratch", "moco"):
        finetune_run(tmp_path / "runs" / arm, arm, 0.1)
    return tmp_path / "runs"


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_page_links_to_every_file_and_no_other(runs, tmp_path):
    page = Page(write_report([runs], tmp_path / "my report#1.html"))
    folder = tmp_path / "my report#1-files"
    start = "my%20report%231-files/"
    links = {a["href"].removeprefix(start) for a in page.all("a") if a["href"].startswith(start)}
    written = files_in(folder)
    assert links == written - {"index.json"}
    assert json.loads((folder / "index.json").read_text())["files"] == sorted(links)
    tables = page.all("table")
    assert len([one for one in written if one.endswith(".csv")]) == len(tables)
    drawings = [one for one in page.all("div") if one.get("role") == "img"]
    assert len([one for one in written if one.endswith(".pdf")]) == len(drawings)


def test_results_are_written_as_shown(runs, tmp_path):
    write_report([runs], tmp_path / "r.html")
    (path,) = (tmp_path / "r-files/tables").glob("*macro-auroc.csv")
    read = pd.read_csv(path)
    result = json.loads((runs / "moco/result.json").read_text())["test"]["scores"]["macro_auroc"]
    row = read[read["Arm"] == "moco"].iloc[0]
    assert row["10 % of labels"] == result["value"]
    assert row["10 % of labels: low"] == result["low"]
    assert row["10 % of labels: high"] == result["high"]
    shown = f"{result['value']:.3f}}} [{result['low']:.3f}, {result['high']:.3f}]"
    assert shown in path.with_suffix(".tex").read_text()
    assert "Image size" in pd.read_csv(tmp_path / "r-files/tables/data.csv")


def test_second_report_is_the_same_and_keeps_what_is_not_its_own(runs, tmp_path):
    folder = tmp_path / "r-files"
    write_report([runs], tmp_path / "r.html")
    before = {name: (folder / name).read_bytes() for name in files_in(folder)}
    (folder / "notes.txt").write_text("mine")
    (folder / "tables" / "mine.csv").write_text("mine")
    write_report([runs], tmp_path / "r.html")
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert files_in(folder) == {*before, "notes.txt", "tables/mine.csv"}


def test_stale_files_go_when_an_earlier_index_lists_them(runs, tmp_path):
    folder = tmp_path / "r-files"
    write_report([runs], tmp_path / "r.html")
    outside = tmp_path / "precious.csv"
    outside.write_text("keep")
    (folder / "tables" / "old.csv").write_text("stale")
    (folder / "tables" / "mine.csv").write_text("mine")
    names = json.loads((folder / "index.json").read_text())["files"]
    names += ["tables/old.csv", "../precious.csv", "tables/../../precious.csv", "index.json", 3]
    (folder / "index.json").write_text(json.dumps({"files": [str(one) for one in names]}))
    write_report([runs], tmp_path / "r.html")
    assert not (folder / "tables" / "old.csv").exists()
    assert (folder / "tables" / "mine.csv").read_text() == "mine"
    assert outside.read_text() == "keep"


def test_folder_of_someone_else_is_refused(runs, tmp_path):
    (tmp_path / "r-files").mkdir()
    (tmp_path / "r-files" / "thesis.tex").write_text("mine")
    with pytest.raises(MedstrataError, match="was not written by a report"):
        write_report([runs], tmp_path / "r.html")
    assert files_in(tmp_path / "r-files") == {"thesis.tex"}
    assert not (tmp_path / "r.html").exists()


def test_page_alone(runs, tmp_path):
    main(["report", str(runs), "--to", str(tmp_path / "r.html"), "--no_files"])
    assert not (tmp_path / "r-files").exists()
    assert "-files" not in (tmp_path / "r.html").read_text()


def test_hostile_names_stay_inside_the_folder(tmp_path):
    task = {"name": "../../x", "kind": "binary", "classes": [HOSTILE, "b"]}
    finetune_run(tmp_path / "runs/a", HOSTILE, 1.0, task=task, protocol="/full")
    before = files_in(tmp_path)
    write_report([tmp_path / "runs"], tmp_path / "r.html")
    new = files_in(tmp_path) - before - {"r.html"}
    made = r"r-files/(index|(tables|figures)/[a-z0-9-]+)\.\w+"
    assert [one for one in new if not re.fullmatch(made, one)] == []
    assert len(new) > 6


def test_equal_names_get_files_of_their_own():
    contents = Contents(folder=None)
    made, _ = drawn()
    one = table(tuple(text_cells("a", "1")))
    assert [contents.add_table(number, one) for number in (1, 2)] == ["scores", "scores-2"]
    assert [contents.add_plot(0, made) for _ in range(2)] == ["p", "p-2"]
    assert [shown.number for shown in contents.tables] == [1, 2]
