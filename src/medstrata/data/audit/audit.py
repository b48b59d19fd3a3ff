"""The data audit: what in a store would make a result look better than it is.

It writes `audit.json` into the store, with counts and a few sample ids, and says what it found.

Legend: N samples.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.audit.counts import (
    EXAMPLES,
    count_exposures,
    count_faint,
    count_forms,
    count_labels,
)
from medstrata.data.audit.duplicates import Duplicates, find_duplicates
from medstrata.data.audit.findings import Finding, findings
from medstrata.data.audit.overlaps import find_overlaps
from medstrata.data.audit.pixels import require_unchanged
from medstrata.data.audit.shortcuts import find_shortcuts
from medstrata.data.labels import Task, make_task
from medstrata.data.patients import PatientCount, alike_ids, is_unknown
from medstrata.data.splits import patients_in_several_splits
from medstrata.data.store.store import SPLITS, Store
from medstrata.runtime.console import say, warn
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text

FRACTIONS = (0.01, 0.1, 1.0)
_MOST_SAID = 20  # findings of a level
_SEED = 0  # of what is looked at, where not all is

Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        facts: As in `audit.json`.
        findings: What a reader must know, the gravest first.
    """

    facts: dict[str, Any]
    findings: tuple[Finding, ...]

    @property
    def leakage(self) -> str:
        """One line on what stands in two splits, empty if nothing does."""
        return next((one.what for one in self.findings if one.level == "leakage"), "")


def audit(
    store: Store,
    *,
    task: str | None = None,
    fractions: Sequence[float] = FRACTIONS,
    allow_leakage: bool = False,
    duplicates: Duplicates | None = None,
    pixels: bool = True,
) -> Audit:
    """Audit a store: pixels, copies, leakage, labels, exposures, forms and shortcuts.

    Args:
        store: From `prepare`.
        task: Label column or task whose labels are looked at; by default all label columns, of
            those with the same groups of images the first.
        fractions: Of the labels, whose subsets are counted.
        allow_leakage: Go on where the same patient or image is in two splits.
        duplicates: Found before; looked for by default.
        pixels: Compare every image with the checksum that `prepare` has kept of it.

    Returns:
        The audit; it is in the store's `audit.json`, too.

    Raises:
        MedstrataError: something stands in two splits (the audit is written nevertheless), there
            is no such task, or pixels have changed since they were written.
        ValueError: a fraction is out of range.
    """
    if wrong := [one for one in fractions if not 0 < one <= 1]:
        raise ValueError(f"fractions must be above 0 and at most 1, got {wrong[0]}")
    _ = store.manifest  # from here on columns are in memory, however many labels there are
    tasks = _tasks(store, task)
    if pixels:
        require_unchanged(store)
    duplicates = duplicates or find_duplicates(store.manifest, store.__getitem__)
    pairs = duplicates.exact_pairs() + duplicates.near_pairs()
    overlaps = asdict(find_overlaps(store.patient_ids, store.__getitem__, _SEED))
    ids = store.manifest["sample_id"].to_numpy(dtype=object)
    overlaps["examples"] = [[ids[a], ids[b], round(s, 3)] for a, b, s in overlaps["examples"]]
    facts = {
        "store_digest": store.digest,
        "images": len(store),
        "patients": PatientCount.of(store.patient_ids).patients,
        "unknown_patients": _unknown_patients(store),
        "alike_patients": _alike_patients(store),
        "leakage": _leakage(store, pairs),
        "duplicates": _describe(store, duplicates),
        "label_conflicts": [_conflicts(store, one, pairs) for one in tasks],
        "overlaps": overlaps,
        "exposures": count_exposures(store.manifest),
        "faint": count_faint(store),
        "forms": count_forms(store, tasks),
        "labels": {one.name: count_labels(store, one, fractions, _SEED) for one in tasks},
        "shortcuts": [asdict(one) for one in find_shortcuts(store, tasks, _SEED)],
    }
    result = Audit(facts, tuple(findings(facts)))
    written = {**facts, "findings": [asdict(one) for one in result.findings]}
    write_text(store.path / "audit.json", json.dumps(written, indent=1, ensure_ascii=False) + "\n")
    say_findings(result, store.path)
    refuse_leakage(result, allow_leakage)
    return result


def read_audit(store: Store) -> Audit | None:
    """The audit that a store holds, None if there is none of these images and splits."""
    path = store.path / "audit.json"
    if not path.is_file():
        return None
    try:
        facts = dict(read_json(path))
        kept = tuple(Finding(**one) for one in facts.pop("findings"))
    except (ValueError, KeyError, TypeError):
        return None
    return Audit(facts, kept) if facts.get("store_digest") == store.digest else None


def say_findings(result: Audit, store: Path) -> None:
    """Print the findings, one line each, of notes and of cautions the first."""
    for level in ("leakage", "caution", "note"):
        of_level = [one.what for one in result.findings if one.level == level]
        speak = say if level == "note" else warn
        for what in of_level[:_MOST_SAID]:
            speak(f"audit: {what}")
        if more := of_level[_MOST_SAID:]:
            speak(f"audit: {len(more)} more of this kind in audit.json")
    if not result.findings:
        say("audit: no copies, leakage, odd labels, exposures or shortcuts found")
    say(f"audit: details in {store / 'audit.json'}")


def refuse_leakage(result: Audit, allowed: bool) -> None:
    """Stop at leakage that is not allowed.

    Raises:
        MedstrataError: there is some.
    """
    if result.leakage and not allowed:
        raise MedstrataError(
            f"leakage: {result.leakage}; in the table, give them one patient or one split and "
            "prepare again with --overwrite, or go on with --allow-leakage"
        )


def _tasks(store: Store, spec: str | None) -> list[Task]:
    """What to look at, each with one class per image; columns that say the same only once."""
    names = list(store.label_columns) if spec is None else [spec]
    tasks: list[Task] = []
    groupings: set[bytes] = set()
    for task in (make_task(store, name) for name in names):
        if task.kind != "multilabel":
            groups = pd.factorize(np.where(task.targets < 0, np.nan, task.targets))[0].tobytes()
            if groups not in groupings:
                tasks.append(task)
            groupings.add(groups)
            continue
        for place, label in enumerate(task.classes):
            answers = np.nan_to_num(task.targets[:, place], nan=-1).astype(np.int64)
            tasks.append(Task(label, "binary", ("0", "1"), answers))
    return tasks


def _leakage(store: Store, pairs: Pairs) -> dict[str, Any]:
    """Patients and images that stand in two splits."""
    torn = sorted(patients_in_several_splits(store.manifest["patient_id"], store.manifest["split"]))
    split = store.manifest["split"].to_numpy(dtype=np.str_)
    across = [pair for pair in pairs if split[pair[0]] != split[pair[1]]]
    return {
        "patients": len(torn),
        "pairs": len(across),
        "images": len({row for pair in across for row in pair}),
        "patient_examples": torn[:EXAMPLES],
        "examples": _named(store, across),
    }


def _unknown_patients(store: Store) -> dict[str, Any]:
    """Images whose patient nobody knows, in each split."""
    patients = store.patient_ids
    splits = {one: PatientCount.of(patients[store.rows(one)]).unknown for one in SPLITS}
    return {"images": sum(splits.values()), "splits": splits}


def _alike_patients(store: Store) -> dict[str, Any]:
    """Ids that may be one patient's, written in two ways."""
    pairs = alike_ids(store.patient_ids)
    return {"pairs": len(pairs), "examples": [list(pair) for pair in pairs[:EXAMPLES]]}


def _named(store: Store, pairs: Pairs) -> list[list[str]]:
    """The first pairs as [sample id, its split, sample id, its split]."""
    ids, splits = store.manifest["sample_id"], store.manifest["split"]
    return [
        [str(value) for row in pair for value in (ids[row], splits[row])]
        for pair in sorted(pairs)[:EXAMPLES]
    ]


def _describe(store: Store, duplicates: Duplicates) -> dict[str, Any]:
    sizes = np.bincount(duplicates.exact)
    copies, near = duplicates.exact_pairs(), duplicates.near_pairs()
    patients = store.patient_ids
    unknown = is_unknown(patients)

    def differ(a: int, b: int) -> bool:
        return bool(patients[a] != patients[b] and not (unknown[a] or unknown[b]))

    return {
        "exact_groups": int((sizes > 1).sum()),
        "exact_images": int(sizes[sizes > 1].sum()),
        "exact_between_patients": sum(differ(a, b) for a, b in copies),
        "near_pairs": len(near),
        "near_between_patients": sum(differ(a, b) for a, b in near),
        "candidates": duplicates.candidates,
        "radius": duplicates.radius,
        "complete": duplicates.complete,
        "exact_examples": _named(store, copies),
        "near_examples": [
            [*named, round(float(duplicates.likeness[place]), 3)]
            for place, named in enumerate(_named(store, near))
        ],
    }


def _conflicts(store: Store, task: Task, pairs: Pairs) -> dict[str, Any]:
    """Copies with different known labels."""
    targets: NDArray[Any] = np.asarray(task.targets)
    torn = [
        (a, b) for a, b in pairs if targets[a] >= 0 and targets[b] >= 0 and targets[a] != targets[b]
    ]
    ids: pd.Series = store.manifest["sample_id"]
    return {
        "label": task.name,
        "pairs": len(torn),
        "examples": [
            [str(ids[a]), task.classes[targets[a]], str(ids[b]), task.classes[targets[b]]]
            for a, b in sorted(torn)[:EXAMPLES]
        ],
    }
