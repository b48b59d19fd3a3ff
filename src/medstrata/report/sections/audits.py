"""The audit of the images behind the runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from medstrata.metrics.defaults import LEVEL
from medstrata.report.read.facts import ReportNote, Run
from medstrata.report.render.formatting import counted, listed, percent, slug
from medstrata.report.render.parts import Bullets, Heading, Part, Text
from medstrata.report.render.tables import Table, TableCell, count_cell, number_cell, text_cells
from medstrata.report.sections.section import Section

CUES = {
    "size": "Image size",
    "site": "Site",
    "format": "File format",
    "intensity": "Mean colour",
    "border": "Border strip",
}


def audits_section(runs: Sequence[Run]) -> Section:
    """Each audit once, in the order of the stores' names; a note where none can be read."""
    audits: dict[str, list[Part]] = {}
    lacking: dict[str, ReportNote] = {}
    for run in sorted(runs, key=lambda run: (run.store.name, run.files.name)):
        store, facts = run.store.name, run.files.audit
        if facts is None:
            why = (
                "no data audit in some of its run folders: whether an image stands in two splits "
                "is not known here; `medstrata audit` looks"
            )
            lacking[store] = ReportNote(what=store, why=why)
            continue
        try:
            key = str(facts["store_digest"])
            if key not in audits:
                audits[key] = _parts(store, facts)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            lacking[store] = ReportNote(what=store, why="the data audit of its runs cannot be read")
    return Section(
        anchor="audit",
        title="Data audit",
        short="Data audit",
        lead="What in the images and splits could make a score look better than it is. A shortcut "
        "is something other than the finding that predicts the label by itself: its AUROC would be "
        "0.5 if it told nothing. Its interval is over patients.",
        parts=[part for parts in audits.values() for part in parts],
        notes=list(lacking.values()),
    )


def _parts(store: str, facts: Mapping[str, Any]) -> list[Part]:
    """What was found, the checks, how well each cue predicts each label, images of each class."""
    levels = [(str(one["level"]), str(one["what"])) for one in facts["findings"]]
    findings = [("" if level == "note" else level.capitalize(), what) for level, what in levels]
    nothing = Text("Nothing was found: no copies, no leakage, no shortcut above chance.")
    parts: list[Part] = [Heading(store), Bullets(findings) if findings else nothing]
    parts.append(_checks_table(store, facts))
    if facts["shortcuts"]:
        parts.append(_shortcuts_table(store, facts["shortcuts"]))
    labels: Mapping[str, Any] = facts["labels"]
    places: dict[str, None] = {}
    for label in labels.values():
        places |= dict.fromkeys([*label["splits"], *label["fractions"]])
    parts += [_counts_table(store, name, label, tuple(places)) for name, label in labels.items()]
    return parts


def _checks_table(store: str, facts: Mapping[str, Any]) -> Table:
    return Table(
        name=slug("audit", store),
        caption=f"What was looked for in {store}",
        heads=text_cells("Check", "Found"),
        rows=tuple(text_cells(*check) for check in _checks(facts)),
    )


def _shortcuts_table(store: str, shortcuts: Sequence[Mapping[str, Any]]) -> Table:
    cues = tuple(dict.fromkeys(str(one["cue"]) for one in shortcuts))
    labels: dict[str, dict[str, TableCell]] = {}
    for one in shortcuts:
        labels.setdefault(str(one["label"]), {})[str(one["cue"])] = _shortcut(one)
    return Table(
        name=slug("audit", store, "shortcuts"),
        caption="How well each cue alone predicts the label: macro AUROC, "
        f"{percent(LEVEL)} interval over patients, {store}",
        heads=text_cells("Label", *(CUES.get(cue, cue) for cue in cues)),
        rows=tuple(
            (TableCell(text=label), *(by_cue.get(cue, TableCell(text="–")) for cue in cues))
            for label, by_cue in labels.items()
        ),
    )


def _shortcut(one: Mapping[str, Any]) -> TableCell:
    """The score of a cue; a cue that is the same in all images has a verdict alone."""
    auroc, verdict = one["auroc"], str(one["verdict"])
    if auroc is None:
        return TableCell(text=verdict)
    interval = (float(auroc["low"]), float(auroc["high"]))
    return number_cell(float(auroc["value"]), verdict, interval=interval)


def _counts_table(store: str, name: str, label: Mapping[str, Any], parts: Sequence[str]) -> Table:
    """Images of each class, then the patients, then images without a label."""
    places = [label["splits"].get(part) or label["fractions"].get(part) or {} for part in parts]
    classes = dict.fromkeys(one for place in places for one in place.get("per_class", {}))
    rows = [
        (TableCell(text=str(one)), *(_number(place.get("per_class", {}), one) for place in places))
        for one in classes
    ]
    for key, title in (("patients", "patients"), ("unknown", "unlabelled images")):
        rows.append((TableCell(text=title), *(_number(place, key) for place in places)))
    return Table(
        name=slug("audit", store, "counts", name),
        caption=f"Images of each class of {name}, by split and by fraction of the training "
        f"labels, {store}",
        heads=text_cells("Class", *(_column(part) for part in parts)),
        rows=tuple(rows),
    )


def _column(part: str) -> str:
    return part if part in ("train", "val", "test") else f"{percent(float(part))} of labels"


def _number(counts: Mapping[str, Any], name: str) -> TableCell:
    return count_cell(int(counts[name]) if name in counts else None)


def _torn(facts: Mapping[str, Any]) -> str:
    unknown = facts.get("unknown_patients", {}).get("images", 0)  # which old audits do not tell
    torn = f"{facts['leakage']['patients']:,}"
    return f"{torn} known; {counted(unknown, 'image')} of unknown patients" if unknown else torn


def _checks(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    leakage, copies, overlaps = facts["leakage"], facts["duplicates"], facts["overlaps"]
    odd = facts["exposures"]
    torn = [f"{counted(one['pairs'], 'pair')} ({one['label']})" for one in facts["label_conflicts"]]
    return [
        ("Patients in two splits", _torn(facts)),
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
