"""The sheets of wrong images in the page, and a page without any image."""

import shutil

import pytest
from PIL import Image

from medstrata.report.page import write_report
from medstrata.report.sections.decisions import shown_arms
from medstrata.report.sections.wrong_images import wrong_images_section
from support.predicted_runs import Patients, comparison_in, predicted_study
from support.report_page import Page
from support.report_runs import pretrain_run


@pytest.fixture
def study(tmp_path):
    """Three seeds of two arms; every run has a sheet as wide as its seed tells."""
    made = Patients(patients=40)
    predicted_study(tmp_path, made, {"scratch": 1.0, "moco": 3.0}, fractions=(0.1, 1.0))
    for run in (tmp_path / "full").iterdir():
        Image.new("RGB", (10 + int(run.name[-1]), 20)).save(run / "wrong_images.png")
    return tmp_path


def test_the_median_run_of_each_is_shown(study):
    comparison = comparison_in(study)
    section = wrong_images_section([comparison], shown(comparison))
    _, *sheets = section.parts
    expected = []
    for fraction in (0.1, 1.0):
        for arm in ("moco", "scratch"):
            runs = comparison.at(fraction)[arm]
            scores = sorted((run.test.scores[comparison.metric].value, run.seed) for run in runs)
            expected.append(10 + scores[1][1])
    assert [one.image.width for one in sheets] == expected
    assert sheets[0].caption.startswith("moco with 10")


def test_a_broken_sheet_is_named_and_no_sheet_is_no_section(study):
    for run in (study / "full").glob("scratch-*"):
        (run / "wrong_images.png").write_bytes(b"no picture")
    for run in (study / "full").glob("moco-*"):
        (run / "wrong_images.png").unlink()
    comparison = comparison_in(study)
    section = wrong_images_section([comparison], shown(comparison))
    assert section.parts == []
    assert {one.why for one in section.notes} == {"wrong_images.png cannot be read"}


def test_a_page_shows_no_image_where_it_is_told_so(study):
    pretrain_run(study / "pre", "moco", epochs=1)
    for run in (study / "full").glob("*-0.1-*"):
        shutil.rmtree(run)
    seen, hidden = (
        Page(write_report([study], study / f"{images}.html", files=False, images=images))
        for images in (True, False)
    )
    assert len(seen.all("img")) == 3
    assert "Images that are most wrong" in seen.text
    assert hidden.all("img") == []
    assert "Images that are most wrong" not in hidden.text
    assert "Views the encoder saw" not in hidden.text


def shown(comparison):
    return {comparison.name: shown_arms(comparison, ())}
