"""The folder of files beside a page."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from medstrata.cli.main import main
from medstrata.report.page import write_report
from medstrata.runtime.errors import MedstrataError
from support.report_page import HOSTILE, Page
from support.report_runs import finetune_run


@pytest.fixture
def runs(tmp_path):
    for arm in ("scratch", "moco"):
        finetune_run(tmp_path / "runs" / arm, arm, 0.1)
    return tmp_path / "runs"


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_page_links_to_every_file_and_no_other(runs, tmp_path):
    page = Page(write_report([runs], tmp_path / "my report#1.html", figures=True))
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
    write_report([runs], tmp_path / "r.html", figures=True)
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
    write_report([runs], tmp_path / "r.html", figures=True)
    before = {name: (folder / name).read_bytes() for name in files_in(folder)}
    (folder / "notes.txt").write_text("mine")
    (folder / "tables" / "mine.csv").write_text("mine")
    write_report([runs], tmp_path / "r.html", figures=True)
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert files_in(folder) == {*before, "notes.txt", "tables/mine.csv"}


def test_stale_files_go_when_an_earlier_index_lists_them(runs, tmp_path):
    folder = tmp_path / "r-files"
    write_report([runs], tmp_path / "r.html", figures=True)
    outside = tmp_path / "precious.csv"
    outside.write_text("keep")
    (folder / "tables" / "old.csv").write_text("stale")
    (folder / "tables" / "mine.csv").write_text("mine")
    names = json.loads((folder / "index.json").read_text())["files"]
    names += ["tables/old.csv", "../precious.csv", "tables/../../precious.csv", "index.json", 3]
    (folder / "index.json").write_text(json.dumps({"files": [str(one) for one in names]}))
    write_report([runs], tmp_path / "r.html", figures=True)
    assert not (folder / "tables" / "old.csv").exists()
    assert (folder / "tables" / "mine.csv").read_text() == "mine"
    assert outside.read_text() == "keep"


def test_folder_of_someone_else_is_refused(runs, tmp_path):
    (tmp_path / "r-files").mkdir()
    (tmp_path / "r-files" / "thesis.tex").write_text("mine")
    with pytest.raises(MedstrataError, match="was not written by a report"):
        write_report([runs], tmp_path / "r.html", figures=True)
    assert files_in(tmp_path / "r-files") == {"thesis.tex"}
    assert not (tmp_path / "r.html").exists()


def test_figures_are_written_where_they_are_asked_for(runs, tmp_path):
    main(["report", str(runs), "--to", str(tmp_path / "r.html")])
    assert {Path(one).suffix for one in files_in(tmp_path / "r-files")} == {".csv", ".tex", ".json"}
    page = Page(tmp_path / "r.html")
    assert not [a["href"] for a in page.all("a") if a["href"].endswith((".pdf", ".png"))]
    assert "With --figures , medstrata report writes every figure" in page.text
    main(["report", str(runs), "--to", str(tmp_path / "r.html"), "--figures"])
    assert any(one.endswith(".pdf") for one in files_in(tmp_path / "r-files"))
    # Figures of other runs would be taken for those of the page.
    main(["report", str(runs), "--to", str(tmp_path / "r.html")])
    assert not any(one.endswith(".pdf") for one in files_in(tmp_path / "r-files"))


def test_page_alone(runs, tmp_path):
    main(["report", str(runs), "--to", str(tmp_path / "r.html"), "--no_files"])
    assert not (tmp_path / "r-files").exists()
    assert "-files" not in (tmp_path / "r.html").read_text()


def test_hostile_names_stay_inside_the_folder(tmp_path):
    task = {"name": "../../x", "kind": "binary", "classes": [HOSTILE, "b"]}
    finetune_run(tmp_path / "runs/a", HOSTILE, 1.0, task=task, protocol="/full")
    before = files_in(tmp_path)
    write_report([tmp_path / "runs"], tmp_path / "r.html", figures=True)
    new = files_in(tmp_path) - before - {"r.html"}
    made = r"r-files/(index|(tables|figures)/[a-z0-9-]+)\.\w+"
    assert [one for one in new if not re.fullmatch(made, one)] == []
    assert len(new) > 6
