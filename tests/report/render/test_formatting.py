"""Numbers, lists and names in words."""

from medstrata.report.render.formatting import (
    counted,
    duration,
    listed,
    patients_named,
    percent,
    score_text,
    slug,
    span,
)
from medstrata.report.render.tables import unique_names
from support.report_runs import FRACTIONS


def test_words():
    thin = "\N{NARROW NO-BREAK SPACE}"
    assert [percent(one) for one in (*FRACTIONS, 0.005, 0.0625)] == [
        f"{text}{thin}%" for text in ("1", "10", "100", "0.5", "6.25")
    ]
    assert score_text(-0.1234) == "−0.123"
    assert [span([3]), span([3, 3]), span([1200, 3])] == ["3", "3", "3–1,200"]
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == [
        "a",
        "a and b",
        "a, b and c",
    ]
    assert [counted(1, "arm"), counted(2000, "arm")] == ["1 arm", "2,000 arms"]
    assert [
        duration(one).replace(thin, " ").replace("\N{NO-BREAK SPACE}", " ")
        for one in (12.4, 185, 7500)
    ] == [
        "12 s",
        "3 min 05 s",
        "2 h 05 min",
    ]


def test_names_of_files():
    assert slug("Ünder_score", "A/B ../c") == "under-score-a-b-c"
    assert slug("心") == "unnamed"
    assert len(slug("x" * 300)) == 60
    assert unique_names(["a", "b", "a", "a", "a-2"]) == ["a", "b", "a-2", "a-3", "a-2-2"]


def test_patients_are_not_counted_where_they_are_unknown() -> None:
    assert patients_named(12, 0) == "12 patients"
    assert patients_named(0, 24) == "unknown patients"
    assert patients_named(1, 2) == "1 patient and 2 images of unknown ones"
    assert patients_named(14, 0, "12–14") == "12–14 patients"
