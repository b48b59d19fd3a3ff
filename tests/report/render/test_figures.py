"""Figures take their colours from the page."""

from medstrata.report.page import write_report


def test_figures_take_their_ink_from_the_page(root, tmp_path):
    text = write_report([root / "study/full"], tmp_path / "r.html", files=False).read_text(
        encoding="utf-8"
    )
    drawing = text[text.index("<figure>") : text.index("</figure>")]
    assert "currentColor" in drawing
    assert "var(--muted)" in drawing
    assert "#01020" not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
