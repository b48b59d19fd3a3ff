"""The patient of each image, from what a table or its path says and what DICOM files say.

Legend: N samples.
"""

import re

import pandas as pd

from medstrata.data.audit.duplicates import component_numbers
from medstrata.data.patients import UNKNOWN, clean_ids
from medstrata.runtime.console import say, warn
from medstrata.runtime.errors import MedstrataError, first_few
from medstrata.runtime.patient_key import site_key

# A DICOM id beside more of the table's ids than these, and than this share of them, names nobody.
_MOST_NAMES, _MOST_SHARE = 5, 0.05


def patients_of_paths(files: pd.Series, pattern: str) -> pd.Series:
    """What a regular expression finds in each path, null where it finds nothing.

    Args:
        files: POSIX paths relative to the source's folder, shape (N,).
        pattern: Its first group is the patient's id, else all that it matches.

    Raises:
        MedstrataError: it is found in no path.
    """
    whole = pattern if re.compile(pattern).groups else f"({pattern})"
    found = clean_ids(files.str.extract(whole).iloc[:, 0])
    if found.isna().all():
        raise MedstrataError(
            f"--patient-from {pattern} finds no patient in any of {len(files)} paths, the first: "
            f"{first_few(files[:3])}"
        )
    say(f"patients: {found.nunique()} from paths, the first {first_few(found.dropna().unique())}")
    return found


def join_patients(named: pd.Series, hashed: pd.Series, names: pd.Series) -> pd.Series:
    """The patient of each sample: whoever shares an id of either kind is one patient.

    Files that have both kinds bring them together, so that a table which names part of a DICOM
    folder divides nobody. A table's id without such a file meets the DICOM id of the same text.

    Args:
        named: Ids from a table or a path, null where unknown, shape (N,).
        hashed: Hashes of DICOM ids by the key of this site, null where there are none, shape (N,).
        names: What each sample is called where its patient is unknown, shape (N,).

    Returns:
        The first of the patient's named ids, else its hash, else `UNKNOWN` and the name.
    """
    named = clean_ids(named)
    hashed = _without_placeholders(named, hashed)
    both = pd.DataFrame({"name": named, "hash": hashed}).dropna().drop_duplicates()
    alone = set(named.dropna()) - set(both["name"])
    if alone and hashed.notna().any():
        key = site_key()
        # PatientID stands behind its issuer, which is left out where it is not given.
        same = {name: key.hash(f"\0{name}") for name in sorted(alone)}
        same = {name: text for name, text in same.items() if text in set(hashed.dropna())}
        both = pd.concat([both, pd.DataFrame({"name": same.keys(), "hash": same.values()})])
    known = pd.Index(named.dropna().unique()).sort_values()
    nodes = known.append(pd.Index(hashed.dropna().unique()).difference(known))
    pairs = zip(nodes.get_indexer(both["name"]), nodes.get_indexer(both["hash"]), strict=True)
    # A component is named by its lowest member, and named ids stand before hashes.
    joined = nodes[component_numbers(len(nodes), list(pairs))]
    moved = known[joined[: len(known)] != known]
    if len(moved):
        warn(
            f"{len(moved)} patients of the table have a DICOM patient id that another has, too, "
            f"and are one patient with it: {first_few(moved)}"
        )
    ids = named.fillna(hashed).map(dict(zip(nodes, joined, strict=True))).astype("string")
    return ids.fillna(UNKNOWN + names)


def _without_placeholders(named: pd.Series, hashed: pd.Series) -> pd.Series:
    """Without DICOM ids that stand beside so many of the table's that they name nobody."""
    beside = named.groupby(hashed).nunique()
    placeholders = beside.index[beside > max(_MOST_NAMES, _MOST_SHARE * named.nunique())]
    if not len(placeholders):
        return hashed
    held = hashed.isin(placeholders)
    warn(
        f"a patient id of DICOM files stands beside {int(beside.max())} of the table, so it names "
        f"nobody: {int(held.sum())} images have the table's id or none"
    )
    return hashed.mask(held)
