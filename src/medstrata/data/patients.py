"""Who is one patient: ids as people write them, and images whose patient nobody knows.

Legend: N samples.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

# What an image without a patient has for one: this and its file's name. No id begins so.
UNKNOWN = "image:"
_ESCAPED = f"id:{UNKNOWN}"
# What people write where they know no patient, lower case.
_NOBODY = frozenset(
    (
        *("", "-", "--", "?", ".", "na", "n/a", "#n/a", "nan", "null", "nil", "none", "<na>"),
        *("unknown", "unkn", "unk", "missing", "not available", "not known", "undefined"),
        *("anonymous", "anonymized", "anonymised", "anon", "no id", "noid", "patient unknown"),
    )
)


def clean_id(text: str) -> str | None:
    """A patient's id without what is chance in writing it.

    Blanks of every kind go at the ends and become one inside; letters and digits of other widths,
    dashes of other lengths, marks without a width and the ".0" of a spreadsheet become what they
    stand for. Case and leading zeros stay: `alike_ids` tells of them.

    Args:
        text: As a table, a path or a DICOM file has it.

    Returns:
        None where it says that the patient is unknown.
    """
    text = unicodedata.normalize("NFKC", text)
    letters = (" " if letter.isspace() else letter for letter in text)
    kept = (letter for letter in letters if unicodedata.category(letter) not in ("Cf", "Cc"))
    dashed = ("-" if unicodedata.category(c) == "Pd" or c == "\N{MINUS SIGN}" else c for c in kept)
    plain = re.sub(r"^([+-]?\d+)\.0+$", r"\1", " ".join("".join(dashed).split()))
    if plain.lower() in _NOBODY:
        return None
    return f"id:{plain}" if plain.startswith((UNKNOWN, _ESCAPED)) else plain


def clean_ids(ids: pd.Series) -> pd.Series:
    """As `clean_id`, of each; null where unknown."""
    cleaned = {one: clean_id(str(one)) for one in ids.dropna().unique()}
    return ids.map(cleaned).astype("string")


def is_unknown(patient_ids: ArrayLike) -> NDArray[np.bool_]:
    """Which ids of a store stand for an image alone, since its patient is unknown: shape (N,)."""
    text = np.asarray(patient_ids, dtype=np.str_)
    return np.asarray(np.char.startswith(text, UNKNOWN), dtype=np.bool_)


def alike_ids(patient_ids: ArrayLike) -> list[tuple[str, str]]:
    """Pairs of known ids that differ in case, blanks, signs or leading zeros alone.

    Args:
        patient_ids: Shape (N,).

    Returns:
        Each id that is like an earlier one, after that one, in the order of the text.
    """
    distinct = np.unique(np.asarray(patient_ids, dtype=np.str_))
    first: dict[tuple[str, ...], str] = {}
    pairs = []
    for one in distinct[~is_unknown(distinct)].tolist():
        parts = re.findall(r"[^\W\d_]+|\d+", one.casefold())
        key = tuple(part.lstrip("0") or "0" for part in parts)
        if key and first.setdefault(key, one) != one:
            pairs.append((first[key], one))
    return pairs


@dataclass(frozen=True)
class PatientCount:
    """How many images, of how many patients.

    Attributes:
        images: All of them.
        patients: Those that are known.
        unknown: Images whose patient is not.
    """

    images: int
    patients: int
    unknown: int

    @classmethod
    def of(cls, patient_ids: ArrayLike) -> "PatientCount":
        """Count the ids of a store's samples, shape (N,)."""
        ids = np.asarray(patient_ids, dtype=np.str_)
        unknown = is_unknown(ids)
        return cls(len(ids), len(np.unique(ids[~unknown])), int(unknown.sum()))

    def __str__(self) -> str:
        images = f"{self.images} images"
        if not self.unknown:
            return f"{images} of {self.patients} patients"
        if not self.patients:
            return f"{images}, patients unknown"
        known = self.images - self.unknown
        return f"{images}: {known} of {self.patients} patients, {self.unknown} of unknown patients"

    @property
    def facts(self) -> dict[str, Any]:
        """For JSON; `unknown_patients` where there are some."""
        unknown = {"unknown_patients": self.unknown} if self.unknown else {}
        return {"images": self.images, "patients": self.patients} | unknown
