"""Ids of patients as people write them."""

import numpy as np
import pandas as pd
import pytest

from medstrata.data.patients import PatientCount, alike_ids, clean_id, clean_ids, is_unknown


@pytest.mark.parametrize(
    "written",
    [
        *("P 001", " P 001", "P 001 ", "P\t001", "P\N{NO-BREAK SPACE}001", "P  001\r\n"),
        *("\N{ZERO WIDTH NO-BREAK SPACE}P 001", "P\N{ZERO WIDTH SPACE} 001", "P 001\0"),
        "\N{FULLWIDTH LATIN CAPITAL LETTER P} 001",
    ],
)
def test_blanks_of_any_kind_and_widths_say_nothing(written):
    assert clean_id(written) == "P 001"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        *(("7.0", "7"), ("7.000", "7"), ("007", "007"), ("1.2", "1.2"), ("7.0.0", "7.0.0")),
        *(("A\N{EN DASH}1", "A-1"), ("\N{MINUS SIGN}1", "-1"), ("p001", "p001")),
        *(("", None), ("  ", None), ("Unknown", None), ("N/A", None), ("ANONYMOUS", None)),
    ],
)
def test_an_id_is_what_it_stands_for(written, meant):
    assert clean_id(written) == meant


def test_no_id_is_taken_for_an_unknown_patient():
    ids = clean_ids(pd.Series(["image:3", "3", pd.NA, "nan"], dtype="string"))
    assert ids.tolist() == ["id:image:3", "3", pd.NA, pd.NA]
    assert is_unknown(np.array(["image:3", "id:image:3", "3"])).tolist() == [True, False, False]


def test_ids_that_differ_in_case_signs_or_zeros_are_told():
    ids = ["P001", "p001", "P-1", "P2", "1-11", "11-1", "image:p1", "P001", "10", "100"]
    assert alike_ids(np.array(ids)) == [("P-1", "P001"), ("P-1", "p001")]


def test_counts_in_words():
    assert str(PatientCount.of(np.array(["a", "a", "b"]))) == "3 images of 2 patients"
    assert str(PatientCount.of(np.array(["image:a", "image:b"]))) == "2 images, patients unknown"
    mixed = PatientCount.of(np.array(["a", "a", "image:b"]))
    assert str(mixed) == "3 images: 2 of 1 patients, 1 of unknown patients"
    assert mixed.facts == {"images": 3, "patients": 1, "unknown_patients": 1}
