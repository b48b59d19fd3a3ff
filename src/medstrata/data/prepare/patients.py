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


def join_patients(
    named: pd.Series, hashed: pd.Series, numbers: pd.Series, names: pd.Series
) -> pd.Series:
    """The patient of each sample: whoever shares an id of either kind is one patient.

    Files that have both kinds bring them together, so that a table which names part of a DICOM
    folder divides nobody. A table's id without such a file meets the DICOM ids of the same text,
    and so does a DICOM id of a file that leaves out who issued it.

    Args:
        named: Ids from a table or a path, null where unknown, shape (N,).
        hashed: Hashes of DICOM ids and their issuers by the key of this site, null where there are
            none, shape (N,).
        numbers: Hashes of the ids alone, shape (N,).
        names: What each sample is called where its patient is unknown, shape (N,).

    Returns:
        The first of the patient's named ids, else its hash, else `UNKNOWN` and the name.
    """
    named = clean_ids(named)
    hashed = _without_placeholders(named, hashed)
    both = pd.DataFrame({"name": named, "hash": hashed}).dropna().drop_duplicates()
    issued = pd.DataFrame({"number": numbers, "hash": hashed}).dropna().drop_duplicates()
    alone = set(named.dropna()) - set(both["name"])
    if alone and len(issued):
        key = site_key()
        same = pd.Series({key.hash(f"\0{name}"): name for name in sorted(alone)}, dtype="string")
        met = issued.assign(name=issued["number"].map(same))[["name", "hash"]]
        both = pd.concat([both, met.dropna()])
    pairs = [*both.itertuples(index=False, name=None), *_without_issuer(issued)]
    known = pd.Index(named.dropna().unique()).sort_values()
    nodes = known.append(pd.Index(hashed.dropna().unique()).difference(known).sort_values())
    ends = [nodes.get_indexer(list(side)) for side in zip(*pairs, strict=True)]
    # A component is named by its lowest member, and named ids stand before hashes.
    joined = nodes[component_numbers(len(nodes), list(zip(*ends, strict=True)))]
    moved = known[joined[: len(known)] != known]
    if len(moved):
        warn(
            f"{len(moved)} patients of the table have a DICOM patient id that another has, too, "
            f"and are one patient with it: {first_few(moved)}"
        )
    ids = named.fillna(hashed).map(dict(zip(nodes, joined, strict=True))).astype("string")
    return ids.fillna(UNKNOWN + names)


def _without_issuer(issued: pd.DataFrame) -> list[tuple[str, str]]:
    """Pairs of hashes of one id, where a file leaves out who issued it."""
    bare = issued[issued["number"].isin(issued["hash"])]
    several = bare.groupby("number")["hash"].nunique()
    if (several > 2).any():
        warn(
            f"{int((several > 2).sum())} patient ids of DICOM files have several issuers, and "
            "files without one: each is taken for one patient, so that none is divided"
        )
    return list(bare[bare["number"] != bare["hash"]].itertuples(index=False, name=None))


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
