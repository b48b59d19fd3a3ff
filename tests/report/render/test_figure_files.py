"""Figures as PDF and PNG files that stand alone."""

import pytest
from PIL import Image

from medstrata.report.render.figure_files import write_figure
from medstrata.report.render.figures import (
    INK,
    MUTED,
    RULE,
)
from support.report_parts import drawn


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
