"""Rules by which a split is drawn or read."""

import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.split_rules import SplitRule, apply_rule, parse_rule
from medstrata.runtime.errors import MedstrataError


def test_rules_are_understood():
    assert parse_rule(None) == SplitRule()
    assert parse_rule("0.5/0.2/0.3").fractions == (0.5, 0.2, 0.3)
    named = parse_rule("fold: test=0, val=1, validation=2")
    assert (named.column, named.rest) == ("fold", "train")
    assert named.splits == {"0": "test", "1": "val", "2": "val"}
    assert parse_rule("split").column == "split"
    with pytest.raises(MedstrataError, match="write shares as"):
        parse_rule("fold:0,1")
    with pytest.raises(MedstrataError, match="write shares as"):
        parse_rule("fold:holdout=0")


def applied(text, values, ids=None, listed=None):
    column = pd.Series(values, dtype="string")
    ids = pd.Series(range(len(column)) if ids is None else ids).astype("string")
    seen = np.ones(len(column), bool) if listed is None else np.array(listed)
    return apply_rule(parse_rule(text), column, ids, None, seen, 0).tolist()


def test_columns_give_splits():
    words = ["Train", "training", "VALID", "validation", "val", "test", "train "]
    expected = ["train", "train", "val", "val", "val", "test", "train"]
    assert applied("split", words) == expected
    assert applied("fold:test=0,val=1", list("01234")) == ["test", "val", *["train"] * 3]
    assert applied("split", ["train", None], listed=[True, False]) == ["train", "train"]


@pytest.mark.parametrize(
    ("text", "values", "ids", "message"),
    [
        ("split", ["train", None], None, "empty for 1 of 2 images"),
        ("split", ["train", "holdout"], None, "holds holdout; it may hold train, val and test"),
        ("fold:test=9", ["0", "1"], None, "no value 9; it has 0, 1"),
        ("split", ["test", "val"], None, "leaves no image to train on"),
        ("fold:test=0", list("10101"), list("abbcc"), r"puts 2 patients in two splits \(b, c\)"),
    ],
)
def test_columns_that_give_no_splits(text, values, ids, message):
    with pytest.raises(MedstrataError, match=message):
        applied(text, values, ids)
