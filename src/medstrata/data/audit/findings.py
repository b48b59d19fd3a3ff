"""The facts of an audit in sentences."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medstrata.data.audit.counts import FAINT, LEAST_CONTRAST, MOST_BRIGHT, MOST_DARK

Level = Literal["leakage", "caution", "note"]
_HELD = 0.25  # share of a class that one patient holds, from which it is said
_FEW = 10  # images of a class below which a score says little


@dataclass(frozen=True)
class Finding:
    """One sentence, and how grave it is: leakage makes a score wrong, a caution may."""

    level: Level
    what: str


def findings(facts: Mapping[str, Any]) -> Iterator[Finding]:
    """What a reader must know, the gravest first.

    Args:
        facts: As `audit` collects them.
    """
    unsorted = [
        *_leakage(facts["leakage"]),
        *_unknown_patients(facts["unknown_patients"], facts["images"]),
        *_alike_patients(facts["alike_patients"]),
        *_duplicates(facts["duplicates"]),
        *_conflicts(facts["label_conflicts"]),
        *_overlaps(facts["overlaps"]),
        *_exposures(facts["exposures"]),
        *_faint(facts["faint"]),
        *(one for name, label in facts["labels"].items() for one in _labels(name, label)),
        *_shortcuts(facts["shortcuts"]),
    ]
    for level in ("leakage", "caution", "note"):
        yield from (one for one in unsorted if one.level == level)


def _leakage(leakage: Mapping[str, Any]) -> Iterator[Finding]:
    what = []
    if leakage["patients"]:
        some = ", ".join(leakage["patient_examples"][:3])
        what.append(f"{_counted(leakage['patients'], 'patient')} in two splits ({some})")
    if leakage["pairs"]:
        some = ", ".join(f"{a} ({s}) and {b} ({t})" for a, s, b, t in leakage["examples"][:2])
        what.append(
            f"{_counted(leakage['pairs'], 'pair')} of equal or near-identical images in two splits "
            f"({some})"
        )
    if what:
        yield Finding("leakage", " and ".join(what))


def _unknown_patients(unknown: Mapping[str, Any], images: int) -> Iterator[Finding]:
    if not unknown["images"]:
        return
    where = ", ".join(f"{split} {count}" for split, count in unknown["splits"].items() if count)
    yield Finding(
        "caution",
        f"the patients of {unknown['images']} of {images} images are unknown ({where}): that one "
        "of them is in two splits cannot be ruled out",
    )


def _alike_patients(alike: Mapping[str, Any]) -> Iterator[Finding]:
    if alike["pairs"]:
        some = ", ".join(f"{one} and {other}" for one, other in alike["examples"][:2])
        yield Finding(
            "caution",
            f"{_counted(alike['pairs'], 'patient id')} like another but for case, blanks, signs or "
            f"leading zeros ({some}): counted as different patients; if they are not, write them "
            "alike and prepare again with --overwrite",
        )


def _duplicates(duplicates: Mapping[str, Any]) -> Iterator[Finding]:
    if duplicates["exact_groups"]:
        yield Finding(
            "note",
            f"{duplicates['exact_images']} images are equal pixel by pixel to another, in "
            f"{_counted(duplicates['exact_groups'], 'group')}",
        )
    if duplicates["near_pairs"]:
        yield Finding(
            "note", f"{_counted(duplicates['near_pairs'], 'near-identical pair')} of images"
        )
    between = duplicates["exact_between_patients"] + duplicates["near_between_patients"]
    if between:
        yield Finding(
            "caution",
            f"{_counted(between, 'pair')} of equal or near-identical images with different "
            "patients: one patient under two ids, or a mix-up",
        )
    if not duplicates["complete"]:
        yield Finding(
            "note", "so many images are alike that not all pairs could be looked at for copies"
        )


def _conflicts(conflicts: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for one in conflicts:
        if one["pairs"]:
            yield Finding(
                "caution",
                f"label {one['label']}: {_counted(one['pairs'], 'pair')} of equal or "
                "near-identical images with different labels",
            )


def _overlaps(overlaps: Mapping[str, Any]) -> Iterator[Finding]:
    share = overlaps["overlapping"] / max(1, overlaps["images"])
    if share >= 0.01:
        yield Finding(
            "caution",
            f"{share:.0%} of {overlaps['images']} images looked at overlap with another of their "
            "patient: images count for less than their number, splits must be by patient",
        )


def _exposures(exposures: Mapping[str, Any]) -> Iterator[Finding]:
    what = {
        "constant": f"constant (contrast below {LEAST_CONTRAST:g} grey level)",
        "bright": f"burnt out ({MOST_BRIGHT:.0%} or more of the values at 255)",
        "dark": f"nearly black ({MOST_DARK:.0%} or more of the values at 0, padding included)",
    }
    for name, words in what.items():
        if exposures[name]["images"]:
            level: Level = "caution" if name == "constant" else "note"
            yield Finding(level, f"{_counted(exposures[name]['images'], 'image')} {words}")


def _faint(faint: Mapping[str, Any]) -> Iterator[Finding]:
    if faint["images"]:
        yield Finding(
            "caution",
            f"{faint['images']} of {_counted(faint['looked_at'], 'image')} looked at are all but "
            f"black or white, their levels within {FAINT:.1%} of the range: see preview.png, and "
            "prepare again with --window percentile if their files hold more",
        )


def _labels(name: str, label: Mapping[str, Any]) -> Iterator[Finding]:
    for one in label["largest_patients"]:
        if one["split"] != "train" and one["of"] >= _FEW and one["images"] >= _HELD * one["of"]:
            yield Finding(
                "caution",
                f"label {name}: one patient holds {one['images']} of the {one['of']} "
                f"{one['split']} images of class {one['class']}, which are of "
                f"{_counted(one['patients'], 'patient')}",
            )
    untrained = [one for one, n in label["splits"]["train"]["per_class"].items() if not n]
    known = any(any(one["per_class"].values()) for one in label["splits"].values())
    if untrained and known:
        yield Finding(
            "caution",
            f"label {name}: no image in train of {', '.join(untrained)}: nothing can learn it, and "
            "what is scored of it is 0",
        )
    for split in ("val", "test"):
        counts = label["splits"][split]["per_class"]
        few = [f"{kind} {count}" for kind, count in counts.items() if 0 < count < _FEW]
        none = [kind for kind, count in counts.items() if not count]
        if few:
            yield Finding("note", f"label {name}: few images in {split}: {', '.join(few)}")
        if none and len(none) < len(counts):
            yield Finding(
                "caution",
                f"label {name}: no image in {split} of {', '.join(none)}: draw otherwise with "
                "another --seed of prepare, or name a column with the splits (--split)",
            )
    if label["patients_of_several_images"] and not label["patients_of_several_classes"]:
        yield Finding(
            "note",
            f"label {name}: no patient has images of two classes, so whatever marks a patient "
            "predicts the label within it",
        )
    for fraction, counts in label["fractions"].items():
        if "impossible" in counts:
            yield Finding("note", f"label {name} at fraction {fraction}: {counts['impossible']}")


def _shortcuts(shortcuts: list[Mapping[str, Any]]) -> Iterator[Finding]:
    for one in shortcuts:
        if one["verdict"] in ("strong shortcut", "weak shortcut"):
            auroc = one["auroc"]
            yield Finding(
                "caution" if one["verdict"] == "strong shortcut" else "note",
                f"label {one['label']}: {one['verdict']} by {one['cue']} alone, AUROC "
                f"{auroc['value']:.3f} ({auroc['low']:.3f} to {auroc['high']:.3f}; chance 0.5)",
            )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
