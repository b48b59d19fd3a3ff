"""How a user says which images train, validate and test."""

import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.splits import (
    SPLIT_WORDS,
    assign_splits,
    check_fractions,
    patients_in_several_splits,
)
from medstrata.runtime.errors import MedstrataError, first_few

# What to do about a drawn split that lacks something.
DRAW_OTHERWISE = "draw otherwise with another --seed, or name a column with the splits (--split)"


@dataclass(frozen=True)
class SplitRule:
    """Shares to draw, or a column that has the splits.

    Attributes:
        fractions: Shares of train, val and test, if the splits are drawn.
        column: The column, if one has them.
        splits: Split of each value of the column, lower case.
        rest: Split of the other values; None if there must be none.
        may_divide_patients: Whether a column may put a patient into two splits.
    """

    fractions: tuple[float, ...] = (0.7, 0.1, 0.2)
    column: str | None = None
    splits: dict[str, str] | None = None
    rest: str | None = None
    may_divide_patients: bool = False


def parse_rule(text: str | None) -> SplitRule:
    """Understand a rule.

    Args:
        text: None for shares of 0.7/0.1/0.2; "0.6/0.2/0.2"; a column that holds train, val and
            test; or values of a column, as "fold:test=0,val=1", where the others train.

    Raises:
        MedstrataError: it is none of these, or shares do not add up.
    """
    if text is None:
        return SplitRule()
    if re.fullmatch(r"[\d./ ]+", text):
        return SplitRule(fractions=_fractions(text))
    column, colon, values = text.rpartition(":")
    if not colon:
        return SplitRule(column=text, splits=SPLIT_WORDS)
    splits = {}
    for part in values.split(","):
        word, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or word not in SPLIT_WORDS:
            raise MedstrataError(
                f"split {text!r}: write shares as 0.7/0.1/0.2, a column's name, or values of a "
                "column as fold:test=0,val=1"
            )
        splits[value.lower()] = SPLIT_WORDS[word]
    return SplitRule(column=column.strip(), splits=splits, rest="train")


def _fractions(text: str) -> tuple[float, ...]:
    try:
        fractions = tuple(float(part) for part in text.split("/"))
    except ValueError as error:
        raise MedstrataError(f"split {text!r} is not three numbers as 0.7/0.1/0.2") from error
    check_fractions(fractions)
    return fractions


def apply_rule(
    rule: SplitRule,
    values: pd.Series,
    patient_ids: pd.Series,
    bound: NDArray[np.int64] | None,
    listed: NDArray[np.bool_],
    seed: int,
) -> NDArray[np.str_]:
    """Give each image its split.

    Args:
        rule: As `parse_rule` gives it.
        values: The rule's column, null where unknown, shape (N,); not looked at if it has none.
        patient_ids: Shape (N,).
        bound: What drawn splits keep together beyond patients, shape (N,); None for nothing.
        listed: Which images have a row in the table, shape (N,); the others train.
        seed: Decides drawn splits.

    Returns:
        "train", "val" or "test", shape (N,).

    Raises:
        MedstrataError: a value names no split, a patient is in two splits, or no image trains.
    """
    if rule.column is None:
        drawn = assign_splits(patient_ids, rule.fractions, seed, bound)
        if not (drawn == "train").any():
            raise MedstrataError(
                f"seed {seed} draws none of {patient_ids.nunique()} patients into train: "
                f"{DRAW_OTHERWISE}"
            )
        return drawn
    assert rule.splits is not None
    plain = values.str.strip().str.lower()
    _check_values(rule.column, rule.splits, rule.rest, plain[listed])
    split = plain.map(rule.splits)
    split = split.where(split.notna(), rule.rest or "train")
    torn = [] if rule.may_divide_patients else patients_in_several_splits(patient_ids, split)
    if torn:
        raise MedstrataError(
            f"split column {rule.column!r} puts {len(torn)} patients in two splits "
            f"({first_few(torn)}): mend the column, have patient-wise splits drawn with "
            "0.7/0.1/0.2, or go on with --allow-leakage"
        )
    if not (split == "train").any():
        raise MedstrataError(f"split column {rule.column!r} leaves no image to train on")
    return split.to_numpy(dtype=np.str_)


def _check_values(column: str, splits: dict[str, str], rest: str | None, values: pd.Series) -> None:
    empty = int(values.isna().sum())
    if empty:
        raise MedstrataError(
            f"split column {column!r} is empty for {empty} of {len(values)} images: fill it in, or "
            "give shares as 0.7/0.1/0.2"
        )
    present = sorted(values.unique())
    strange = [value for value in present if value not in splits]
    if rest is None and strange:
        raise MedstrataError(
            f"split column {column!r} holds {first_few(strange)}; it may hold train, val and test: "
            f"name its values, as '{column}:test={strange[-1]},val={strange[0]}'"
        )
    absent = [value for value in splits if value not in present]
    if rest is not None and absent:
        raise MedstrataError(
            f"split column {column!r} has no value {first_few(absent)}; it has {first_few(present)}"
        )
