"""The share of labels that suffices."""

from medstrata.metrics.label_efficiency import Efficiency
from medstrata.report.sections.efficiency import efficiency_section, share_cell
from support.predicted_runs import comparison_in

THIN = "\N{NARROW NO-BREAK SPACE}"


def test_efficiency_in_words():
    reached = Efficiency(fraction=0.0312, low=0.01, high=None)
    entry = share_cell(reached, smallest=0.01, too_few="one seed of scratch")
    assert entry.text == f"3.1{THIN}%"
    assert entry.number == 0.0312
    assert entry.notes == (
        f"95{THIN}%: ≤ 1{THIN}% to beyond all",
        "no verdict: one seed of scratch",
    )
    never = share_cell(Efficiency(fraction=None, low=None, high=None), smallest=0.01, too_few="")
    assert (never.text, never.number) == ("not reached", None)


def entries(table) -> dict[str, list]:
    return {row[0].text: list(row[1:]) for row in table.rows}


def test_efficiency_finds_the_share_that_suffices(tmp_path, patients):
    for arm, skills in {"scratch": (0.0, 2.0), "moco": (2.0, 3.0), "moco_bt": (0, 0.1)}.items():
        for fraction, skill in zip((0.1, 1.0), skills, strict=True):
            probability = patients.predictions(skill, 3)
            patients.run(tmp_path / f"{arm}-{fraction}", arm, fraction, probability)
    section = efficiency_section([comparison_in(tmp_path)])
    shown = entries(section.parts[1])
    # At 10 % its predictions are those of scratch with all labels.
    assert shown["moco"][0].text == f"≤ 10{THIN}%"
    assert shown["moco_bt"][0].text == "not reached"
    assert shown["scratch"][0].text == "the reference"
