"""Neighbours and maps in the page."""

import re
from pathlib import Path

import pandas as pd
import pytest

from support.layer_runs import atlas_run
from support.report_page import (
    Page,
    write,
)


def section(page: Page, start: str, end: str) -> str:
    return page.text[page.text.index(start) : page.text.index(end)]


def test_atlas_shows_shares_beside_chance(page):
    text = section(page, "Nearest neighbours Table", "How to read them")
    assert "By chance" in text
    assert "0.007" in text
    assert "Of 30 neighbours of 6 images, 18 share the label and 6 the patient" in page.text


def test_patients_are_not_named(page, root):
    points = pd.read_parquet(root / "layers/atlas/moco-seed0/map.parquet")
    assert "patient 1 (" in page.text
    frequent = points["patient_id"].value_counts().index[0]
    assert not re.search(rf"\b{frequent}\b", page.text)


def test_sites_colour_the_map_where_there_are_several(tmp_path):
    run = atlas_run(tmp_path / "runs/a", "moco")
    points = pd.read_parquet(run / "map.parquet")
    points["site"] = ["north" if i % 3 else "south" for i in range(len(points))]
    points.to_parquet(run / "map.parquet")
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "coloured by site" in text
    assert "islands of one site each" in text
    assert "coloured by patient" not in text


def _without(path: Path, column: str | None) -> None:
    points = pd.read_parquet(path)
    changed = points.assign(x=float("nan")) if column is None else points.drop(columns=column)
    changed.to_parquet(path, index=False)


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "no map.parquet"),
        (lambda path: path.write_bytes(b"PAR1 no"), "map.parquet cannot be read"),
        (lambda path: _without(path, "label"), "map.parquet cannot be read"),
        (lambda path: _without(path, None), "no usable places"),
    ],
)
def test_broken_map_is_a_note(tmp_path, damage, why):
    run = atlas_run(tmp_path / "runs/a", "moco")
    damage(run / "map.parquet")
    (run / "neighbours.png").write_bytes(b"no picture")
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert why in text
    assert "neighbours.png cannot be read: its neighbours are not shown" in text
    assert "Effective rank" in text
    assert "Maps How to read" not in text
