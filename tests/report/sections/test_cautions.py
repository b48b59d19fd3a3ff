"""What could overturn the answer is found, and what could not is not named."""

import json
from pathlib import Path
from typing import Any

import pytest

from medstrata.report.page import write_report
from medstrata.report.sections.cautions import Caution, cautions
from support.predicted_runs import Patients, comparisons_in, seeds
from support.report_page import Page
from support.report_runs import STORE, TASK

THIN = "\N{NARROW NO-BREAK SPACE}"
MADE = Patients(patients=60)


def study(folder: Path, made: Patients = MADE, *, count: int = 3, **changes: Any) -> list[Path]:
    for arm, skill in (("scratch", 1.0), ("moco", 2.0)):
        seeds(folder / "full", made, arm, skill, len(arm), count=count, **changes)
    return sorted((folder / "full").iterdir())


def audit(runs: list[Path], *, pairs: int = 0, cue: dict[str, Any] | None = None) -> None:
    shortcut = {"label": TASK["name"], "cue": "border", "verdict": "weak shortcut", "auroc": None}
    facts = {"leakage": {"patients": 0, "pairs": pairs}, "shortcuts": [shortcut | (cue or {})]}
    for run in runs:
        (run / "audit.json").write_text(json.dumps(facts))


def found(folder: Path) -> list[Caution]:
    said = cautions(comparisons_in(folder))
    return [Caution(one.text.replace(THIN, " "), one.anchor) for one in said]


def test_a_sound_study_has_none(tmp_path):
    audit(study(tmp_path))
    assert found(tmp_path) == []


@pytest.mark.parametrize(
    ("high", "verdict", "words"),
    [
        (0.99, "weak shortcut", "AUROC 0.600 (0.550 to 0.990), as good as the best arm with 10 %"),
        (0.65, "strong shortcut", "AUROC 0.600 (0.550 to 0.650)"),
        (0.65, "weak shortcut", None),
    ],
)
def test_a_shortcut_counts_where_it_is_strong_or_as_good_as_the_best(
    tmp_path, high, verdict, words
):
    auroc = {"value": 0.6, "low": 0.55, "high": high}
    audit(study(tmp_path), cue={"auroc": auroc, "verdict": verdict})
    if words is None:
        assert found(tmp_path) == []
        return
    ((said, anchor),) = ((one.text, one.anchor) for one in found(tmp_path))
    assert said.startswith(f"The border strip alone predicts subtype: {words}")
    assert ("(moco 0." in said) == (high == 0.99)
    assert anchor == "audit"


def test_leakage_and_unknown_patients(tmp_path):
    audit(study(tmp_path, store={**STORE, "unknown_patients": 12}), pairs=3)
    assert found(tmp_path) == [
        Caution("The patients of 12 images are unknown: leakage is too", "data"),
        Caution("Leakage: 3 pairs of copies in two splits", "audit"),
    ]


def test_few_seeds_and_no_audit(tmp_path):
    study(tmp_path, count=1)
    assert found(tmp_path) == [
        Caution("No data audit: shortcuts, and copies across splits, are not known", "missing"),
        Caution(
            "One seed of scratch and one pre-training run of moco: others may come out otherwise, "
            "so no verdict",
            "differences",
        ),
    ]


def test_few_patients_and_few_of_a_class(tmp_path):
    made = Patients(patients=30)
    made.target[:] = 0
    made.target[:10] = 1  # of five patients
    audit(study(tmp_path, made))
    assert found(tmp_path) == [
        Caution("Only 30 test patients: intervals are rough", "data"),
        Caution("Few test patients of virus (5): intervals are rough", "data"),
    ]


@pytest.mark.parametrize(("best", "late"), [(9, True), (8, False), (None, False)])
def test_training_that_ended_at_its_best(tmp_path, best, late):
    """The runs have validations 0 to 9."""
    audit(study(tmp_path, best_validation=best))
    said = "Validation is best at the last epoch of scratch (6 of 6 runs) and moco (6 of 6 runs)"
    assert found(tmp_path) == ([Caution(said, "results")] if late else [])


def test_each_is_a_line_on_the_first_screen_that_leads_to_its_section(tmp_path):
    auroc = {"value": 0.9, "low": 0.85, "high": 0.95}
    audit(study(tmp_path), cue={"auroc": auroc, "verdict": "strong shortcut"})
    page = Page(write_report([tmp_path], tmp_path / "r.html", files=False))
    first = page.text[: page.text.index("Arms shown")]
    assert "What could overturn this The border strip alone predicts subtype" in first
    assert "Figure 1. Macro AUROC against the share of labels." in first
    # The data audit is not whole, so its section says so among what is missing.
    assert {"href": "#missing"} in page.all("a")
