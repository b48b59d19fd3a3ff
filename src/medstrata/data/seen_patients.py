"""patients.json of a run: on whom its weights were trained, as hashes, to be met again in a test.

It lists the run's own patients and those of the encoder that it began with.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medstrata.data.patients import PatientCount
from medstrata.data.store.store import Store
from medstrata.runtime.console import warn
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text
from medstrata.runtime.patient_key import PatientKey, site_key

_FILE = "patients.json"


@dataclass(frozen=True, kw_only=True)
class SeenPatients:
    """Patients that weights were trained on.

    Attributes:
        store: Name of their store.
        labelled: Whether with labels.
        hashed_by: Fingerprint of the key that made the store's ids, where they are hashes.
        key: Fingerprint of the key that made `hashes` of the ids.
        hashes: Ascending.
        unknown: Images whose patient is not known; they are met again by their files' names alone.
    """

    store: str
    labelled: bool
    hashed_by: str | None
    key: str
    hashes: tuple[str, ...]
    unknown: int = 0


def keep_patients(
    folder: Path,
    store: Store,
    rows: NDArray[np.int64],
    *,
    labelled: bool,
    before: Sequence[SeenPatients] = (),
) -> None:
    """Write into a run folder whom it trains on.

    Args:
        folder: The run folder.
        store: Where they are.
        rows: Samples that are trained on or, with labels, chosen by.
        labelled: Whether with labels.
        before: Whom the encoder that it begins with was trained on.
    """
    try:
        key = site_key()
    except MedstrataError as error:
        warn(f"{folder} does not keep whom it was trained on: {error}")
        return
    own = SeenPatients(
        store=store.path.name,
        labelled=labelled,
        hashed_by=store.patient_key,
        key=key.fingerprint,
        hashes=tuple(sorted(_hashes(store, rows, key))),
        unknown=PatientCount.of(store.patient_ids[rows]).unknown,
    )
    write_text(folder / _FILE, json.dumps([asdict(one) for one in (*before, own)]) + "\n")


def read_patients(encoder: Path | None) -> tuple[SeenPatients, ...]:
    """Whom an encoder was trained on: a run folder, or a weights file that a run has exported.

    Returns:
        Nothing where that is not known.

    Raises:
        MedstrataError: the file is damaged.
    """
    if encoder is None:
        return ()
    run = encoder.parent.parent if encoder.parent.name == "exported" else encoder
    path = run / _FILE
    if not path.is_file():
        return ()
    try:
        listed = read_json(path)
        return tuple(SeenPatients(**{**one, "hashes": tuple(one["hashes"])}) for one in listed)
    except (ValueError, KeyError, TypeError) as error:
        raise MedstrataError(
            f"{path} is damaged ({type(error).__name__}); make the run again"
        ) from error


def check_patients(
    name: str,
    seen: Sequence[SeenPatients],
    store: Store,
    rows: NDArray[np.int64],
    *,
    allow_leakage: bool,
) -> None:
    """Say which patients of a test the weights have been trained on, and refuse if with labels.

    Args:
        name: What messages call the weights.
        seen: Whom they were trained on.
        store: Where the test is.
        rows: Its samples.
        allow_leakage: Go on where patients were trained on with labels.

    Raises:
        MedstrataError: some were, and that is not allowed.
    """
    if not seen:
        return
    key = site_key()
    hashes = _hashes(store, rows, key)
    tested = PatientCount.of(store.patient_ids[rows])
    for one in seen:
        if one.unknown or tested.unknown:
            warn(
                f"{name}: that it has seen test patients cannot be ruled out: the patients of "
                f"{one.unknown} images in {one.store} and of {tested.unknown} of {tested.images} "
                f"test images of {store.path.name} are unknown"
            )
        if one.key != key.fingerprint or one.hashed_by != store.patient_key:
            warn(f"{name}: {_incomparable(one, store, key)}")
            continue
        met = len(hashes.intersection(one.hashes))
        if not met:
            continue
        who = f"{met} of the {len(hashes)} test patients of {store.path.name}"
        if not one.labelled:
            warn(f"{name} was pre-trained, without labels, on images of {who}: scores may flatter")
            continue
        message = f"{name} was trained with labels of {who}, by their ids in {one.store}"
        if not allow_leakage:
            raise MedstrataError(
                f"{message}: test on others, or go on with --allow-leakage, as where ids are equal "
                "but the people are not"
            )
        warn(f"{message}: scores flatter")


def _hashes(store: Store, rows: NDArray[np.int64], key: PatientKey) -> set[str]:
    return {key.hash(patient) for patient in np.unique(store.patient_ids[rows]).tolist()}


def _incomparable(seen: SeenPatients, store: Store, key: PatientKey) -> str:
    cannot = f"its patients in {seen.store} cannot be compared with those of {store.path.name}"
    if seen.key != key.fingerprint:
        return f"{cannot}: it was made with another site's patient key"
    if None in (seen.hashed_by, store.patient_key):
        return f"{cannot}: the ids of one are hashes of DICOM ids, those of the other are not"
    return f"{cannot}: the stores were made with different patient keys"
