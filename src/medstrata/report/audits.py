"""The audit of the images behind the runs, as the page shows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medstrata.report.facts import Note, RunFiles
from medstrata.report.words import counted, interval_text, listed, percent, score_text

_CUES = {
    "size": "Image size",
    "site": "Site",
    "format": "File format",
    "intensity": "Mean colour",
    "border": "Border strip",
}


@dataclass(frozen=True, kw_only=True)
class AuditView:
    """One audit; a label's counts are (class, then a number for each of `columns`).

    Attributes:
        name: Of the store.
        said: (level, sentence), the gravest first.
        checks: (what was looked for, what was found).
        cues: Heads of the table of shortcuts.
        shortcuts: (label, then (AUROC, interval, verdict) for each cue; AUROC is empty if the cue
            is the same in all images).
        columns: Heads of the table of labels: splits, then fractions of the training labels.
        labels: (label, its rows).
    """

    name: str
    said: tuple[tuple[str, str], ...]
    checks: tuple[tuple[str, str], ...]
    cues: tuple[str, ...]
    shortcuts: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...]
    columns: tuple[str, ...]
    labels: tuple[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], ...]


def audits(runs: Sequence[tuple[str, RunFiles]]) -> tuple[list[AuditView], list[Note]]:
    """Each audit once.

    Args:
        runs: Name of the store, and files of each run.

    Returns:
        The audits in the order of their stores' names, and a note for each store without a
        readable one.
    """
    views: dict[str, AuditView] = {}
    lacking: dict[str, Note] = {}
    for store, files in sorted(runs, key=lambda run: (run[0], run[1].name)):
        facts = files.audit
        if facts is None:
            why = (
                "no data audit in some of its run folders: whether an image stands in two splits "
                "is not known here; `medstrata audit` looks"
            )
            lacking[store] = Note(what=store, why=why)
            continue
        try:
            key = str(facts["store_digest"])
            if key not in views:
                views[key] = _view(store, facts)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            lacking[store] = Note(what=store, why="the data audit of its runs cannot be read")
    return list(views.values()), list(lacking.values())


def _view(store: str, facts: Mapping[str, Any]) -> AuditView:
    shortcuts: dict[str, list[tuple[str, str, str]]] = {}
    for one in facts["shortcuts"]:
        shortcuts.setdefault(str(one["label"]), []).append(_shortcut(one))
    cues = dict.fromkeys(str(one["cue"]) for one in facts["shortcuts"])
    labels: Mapping[str, Any] = facts["labels"]
    parts: dict[str, None] = {}
    for label in labels.values():
        parts |= dict.fromkeys([*label["splits"], *label["fractions"]])
    return AuditView(
        name=store,
        said=tuple((str(one["level"]), str(one["what"])) for one in facts["findings"]),
        checks=tuple(_checks(facts)),
        cues=tuple(_CUES.get(cue, cue) for cue in cues),
        shortcuts=tuple((label, tuple(cells)) for label, cells in shortcuts.items()),
        columns=tuple(_column(part) for part in parts),
        labels=tuple((str(name), _counts(label, tuple(parts))) for name, label in labels.items()),
    )


def _shortcut(one: Mapping[str, Any]) -> tuple[str, str, str]:
    auroc = one["auroc"]
    if auroc is None:
        return "", "", str(one["verdict"])
    interval = (float(auroc["low"]), float(auroc["high"]))
    return score_text(float(auroc["value"])), interval_text(interval), str(one["verdict"])


def _column(part: str) -> str:
    return part if part in ("train", "val", "test") else f"{percent(float(part))} of labels"


def _counts(label: Mapping[str, Any], parts: Sequence[str]) -> Any:
    """Rows of one label: each class, then the patients, then images without a label."""
    places = [label["splits"].get(part) or label["fractions"].get(part) or {} for part in parts]
    classes = dict.fromkeys(name for place in places for name in place.get("per_class", {}))
    rows = [
        (str(name), tuple(_number(place.get("per_class", {}), name) for place in places))
        for name in classes
    ]
    rows.append(("patients", tuple(_number(place, "patients") for place in places)))
    rows.append(("unlabelled images", tuple(_number(place, "unknown") for place in places)))
    return tuple(rows)


def _number(counts: Mapping[str, Any], name: str) -> str:
    return f"{int(counts[name]):,}" if name in counts else "–"


def _checks(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    leakage, copies, overlaps = facts["leakage"], facts["duplicates"], facts["overlaps"]
    odd = facts["exposures"]
    torn = [f"{counted(one['pairs'], 'pair')} ({one['label']})" for one in facts["label_conflicts"]]
    return [
        ("Patients in two splits", f"{leakage['patients']:,}"),
        ("Equal or near-identical images in two splits", counted(leakage["pairs"], "pair")),
        (
            "Images equal pixel by pixel to another",
            f"{copies['exact_images']:,} in {counted(copies['exact_groups'], 'group')}, "
            f"{counted(copies['exact_between_patients'], 'pair')} between patients",
        ),
        (
            "Near-identical images",
            f"{counted(copies['near_pairs'], 'pair')}, {copies['near_between_patients']:,} of them "
            f"between patients; {counted(copies['candidates'], 'candidate')} compared"
            f"{'' if copies['complete'] else ', not all that are alike'}",
        ),
        ("Copies with different labels", listed(torn) or "no labels"),
        (
            "Overlapping images of one patient",
            f"{overlaps['overlapping']:,} of {overlaps['images']:,} images looked at; by chance "
            f"{overlaps['control_found']:,} of {counted(overlaps['control_pairs'], 'pair')} of "
            "different patients",
        ),
        (
            "Constant, burnt-out and nearly black images",
            f"{odd['constant']['images']:,}, {odd['bright']['images']:,} and "
            f"{odd['dark']['images']:,}",
        ),
    ]
