"""Finishing a store whose files have been decoded: manifest, splits, statistics, store.json.

Legend: N samples, C channels.
"""

import hashlib
import json
import math
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.audit.duplicates import Duplicates, find_duplicates, link_patients
from medstrata.data.audit.fingerprints import DESCRIPTION
from medstrata.data.formats.refusals import NOT_AN_IMAGE
from medstrata.data.patients import PatientCount, is_unknown
from medstrata.data.prepare.annotations import Annotations
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.patients import join_patients
from medstrata.data.prepare.preview import write_preview
from medstrata.data.prepare.shards import DICOM_COLUMNS, read_parts
from medstrata.data.prepare.split_rules import DRAW_OTHERWISE, SplitRule, apply_rule
from medstrata.data.sources import Sources, without_suffix
from medstrata.data.store.layout import checksum
from medstrata.data.store.shards import Shards
from medstrata.data.store.store import FORMAT, SPLITS, LabelColumn
from medstrata.runtime.console import say, warn
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_file, write_text
from medstrata.runtime.harmless import csv_lines

_RECORD = (
    *("width", "height", "source_channels", "format", "mode", "conversion", "file_hash"),
    *DESCRIPTION,
)

# What the notes on an image say of others in its file that were not asked for.
_FIRST_OF_SEVERAL = r"first of \d+ (?:pages|volumes)"


def assemble(
    out: Path,
    sources: Sources,
    annotations: Annotations,
    rule: SplitRule,
    form: StoreFormat,
    plan: dict[str, Any],
    max_quarantine: float,
) -> Duplicates:
    """Turn decoded parts into a whole store, and say what it holds.

    Args:
        out: Folder of the store, with all shards and parts.
        sources: The samples, in the order of the parts.
        annotations: What the table says about them.
        rule: How to split.
        form: Of the stored images.
        plan: Settings, to be kept in the store; `seed` decides drawn splits.
        max_quarantine: Share of unreadable images above which no store is made.

    Returns:
        The copies among its images. Where splits are drawn, patients that share one are together.

    Raises:
        MedstrataError: too many images are unreadable (what was decoded is kept), or the splits
            cannot be made.
    """
    parts = read_parts(out, len(sources), form)
    good = parts["reason"].isna().to_numpy()
    spoilt = np.flatnonzero(~good)
    names = map(sources.name, spoilt.tolist())
    bad = [*sources.refused, *zip(names, parts["reason"].iloc[spoilt], strict=True)]
    _write_quarantine(out, [*bad, *annotations.unmatched])
    _check_quarantine(out, bad, int(good.sum()), max_quarantine)
    manifest = _manifest(sources, parts, annotations.rows)[good].reset_index(drop=True)
    say(f"looking for copies among {len(manifest)} images")
    shard, row = (manifest[name].to_numpy(np.int32) for name in ("shard", "shard_row"))
    images = Shards(out, shard, row)
    duplicates = find_duplicates(manifest, images.__getitem__)
    patients = manifest["patient_id"]
    rows = annotations.rows[good].reset_index(drop=True)
    manifest["split"] = apply_rule(
        rule,
        rows["split"],
        patients,
        _bound(patients, duplicates) if rule.column is None else None,
        rows["listed"].to_numpy(),
        int(plan["seed"]),
    )
    mean, std = channel_statistics(parts[good], (manifest["split"] == "train").to_numpy(), form)
    with atomic_file(out / "manifest.parquet") as temporary:
        manifest.to_parquet(temporary, index=False)
    header = {
        "format": FORMAT,
        **_geometry(form),
        "mean": mean,
        "std": std,
        "images": len(manifest),
        "quarantined": len(bad),
        "splits": {split: count.facts for split, count in _count_splits(manifest).items()},
        "label_columns": {name: asdict(column) for name, column in annotations.columns.items()},
        "digest": store_digest(_geometry(form), annotations.columns, manifest),
        "patient_key": _patient_key(out, parts[good], manifest["patient_id"]),
        "shards": manifest.groupby("shard").size().reset_index().to_numpy().tolist(),
        "plan": plan,
    }
    write_preview(manifest, images.__getitem__, out / "preview.png")
    header["checksum"] = checksum(json.loads(json.dumps(header)), out / "manifest.parquet")
    write_text(out / "store.json", json.dumps(header, indent=2))
    shutil.rmtree(out / "parts")
    _say_summary(out, header, manifest, bad)
    _say_splits(rule, manifest)
    return duplicates


def _patient_key(out: Path, parts: pd.DataFrame, patient_ids: pd.Series) -> str | None:
    """Fingerprint of the key that hashed the DICOM patients, None where no id is such a hash."""
    keys = parts["patient_key"].dropna().unique().tolist()
    if len(keys) > 1:
        raise MedstrataError(
            f"{out} was begun with another patient key than the one there is now: put that one "
            "back, or give --overwrite to begin anew"
        )
    return keys[0] if patient_ids.isin(parts["patient"].dropna()).any() else None


def _bound(patient_ids: pd.Series, duplicates: Duplicates) -> NDArray[np.int64]:
    """What drawn splits keep together: patients, and those that share an image."""
    bound, left_out = link_patients(patient_ids, duplicates)
    joined = patient_ids.nunique() - len(np.unique(bound))
    if joined:
        say(f"patients that share an image are kept in one split: {joined} joined to another")
    if left_out:
        warn(
            "near-identical images chain more than 5 % of the images together: these pairs do not "
            "steer the split"
        )
    return bound


def channel_statistics(
    parts: pd.DataFrame, train: NDArray[np.bool_], form: StoreFormat
) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, from whole-number sums and so exact.

    They are of the train split alone: test images may not leak into how inputs are normalised.

    Args:
        parts: Rows of the stored images, with sums of values and of their squares per channel.
        train: Which rows train, shape (N,).
        form: Of the stored images; black borders count as pixels.

    Returns:
        Mean and standard deviation, C numbers each, pixel values scaled to 0..1.
    """
    pixels, top = int(train.sum()) * form.size**2, np.iinfo(form.dtype).max
    mean, std = [], []
    for channel in range(form.channels):
        # As Python's integers, for squares of 16-bit values soon exceed 64 bits.
        total = sum(parts[f"sum{channel}"][train].tolist())
        squares = sum(parts[f"squares{channel}"][train].tolist())
        mean.append(total / (top * pixels))
        std.append(math.sqrt(pixels * squares - total**2) / (top * pixels))
    return mean, std


def _manifest(sources: Sources, parts: pd.DataFrame, known: pd.DataFrame) -> pd.DataFrame:
    """A row a sample, the split still empty."""
    files = pd.Series(sources.files, dtype="string")
    bare = files.map(without_suffix).astype("string")
    source = _of_samples(files, sources)
    bare_sample = _of_samples(bare, sources)
    sample = source if bare.duplicated().any() else bare_sample
    own = bare_sample if sources.arrays else bare.take(sources.file_index).reset_index(drop=True)
    dicom = [name for name in DICOM_COLUMNS if parts[name].notna().any()]
    return pd.DataFrame(
        {
            "sample_id": sample,
            # An unknown one is called by its file without its suffix, so that no other file can
            # change it.
            "patient_id": join_patients(
                known["patient_id"], parts["patient"], parts["patient_number"], own
            ),
            "site": known["site"],
            "split": pd.Series(pd.NA, index=source.index, dtype="string"),
            "source": source,
            **{name: parts[name] for name in (*_RECORD, *dicom)},
            "shard": parts["shard"],
            "shard_row": parts["shard_row"],
            **{name: known[name] for name in map(str, known) if name.startswith("label.")},
        }
    )


def _of_samples(names: pd.Series, sources: Sources) -> pd.Series:
    """The name of each sample's file, with "#" and the frame where that is one of several."""
    own = names.take(sources.file_index).reset_index(drop=True)
    several = sources.frames >= 0
    if several.any():
        own[several] += "#" + pd.Series(sources.frames, dtype="string")[several]
    return own


def _write_quarantine(out: Path, rows: list[tuple[str, str]]) -> None:
    write_text(out / "quarantine.csv", csv_lines([("source", "reason"), *rows]))


def _check_quarantine(
    out: Path, bad: list[tuple[str, str]], good: int, max_quarantine: float
) -> None:
    mendable = sum(not reason.startswith(NOT_AN_IMAGE) for _, reason in bad)
    total = good + mendable
    if not good:
        raise MedstrataError(
            f"none of the {len(bad)} images could be read, the first: {bad[0][0]}: {bad[0][1]}; "
            f"all are in {out / 'quarantine.csv'}"
        )
    if mendable > max_quarantine * total:
        raise MedstrataError(
            f"{mendable} of {total} images ({mendable / total:.1%}) could not be read, more than "
            f"{max_quarantine:.1%}: see {out / 'quarantine.csv'}, mend them, or go on without them "
            f"by --max-quarantine {math.ceil(1000 * mendable / total) / 1000:g}"
        )


def _count_splits(manifest: pd.DataFrame) -> dict[str, PatientCount]:
    patients = manifest["patient_id"]
    return {split: PatientCount.of(patients[manifest["split"] == split]) for split in SPLITS}


def _geometry(form: StoreFormat) -> dict[str, Any]:
    return {
        "size": form.size,
        "channels": form.channels,
        "bits": form.reading.bits,
        "fit": form.fit,
    }


def store_digest(
    geometry: dict[str, Any], columns: dict[str, LabelColumn], manifest: pd.DataFrame
) -> str:
    """What names pixels, splits and labels of a store.

    Args:
        geometry: With at least size, channels, bits and fit of the stored images.
        columns: Its label columns.
        manifest: A row per image.

    Returns:
        32 hexadecimal digits.
    """
    digest = hashlib.blake2b(digest_size=16)
    form = {name: geometry[name] for name in ("size", "channels", "bits", "fit")}
    described = {name: asdict(column) for name, column in columns.items()}
    digest.update(json.dumps([form, described]).encode())
    labels = [f"label.{name}" for name in columns]
    # Stores of earlier versions are named by their files.
    pixels = "checksum" if "checksum" in manifest else "pixel_checksum"
    named = manifest[["sample_id", "patient_id", "split", pixels, *labels]]
    digest.update(named.to_csv(index=False, lineterminator="\n").encode())
    return digest.hexdigest()


def _say_summary(
    out: Path, header: dict[str, Any], manifest: pd.DataFrame, bad: list[tuple[str, str]]
) -> None:
    count = PatientCount.of(manifest["patient_id"])
    say(f"{count} in {out}, see preview.png")
    if count.unknown:
        warn(
            f"the patients of {count.unknown} of {count.images} images are unknown, so each file "
            "counts as one of its own: name a column with --patient-column, or let --patient-from "
            "find them in the paths"
        )
    if bad:
        reasons = Counter(reason.partition(":")[0].partition(",")[0] for _, reason in bad)
        kinds = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(5))
        warn(f"{len(bad)} images quarantined, see quarantine.csv: {kinds}")
    first = manifest["conversion"].str.contains(_FIRST_OF_SEVERAL).sum()
    if first and header["plan"]["frames"] != "middle":
        warn(
            f"{first} images are of files of which one page, or one volume of a series, is read: "
            "see conversion in manifest.parquet"
        )
    converted = manifest["conversion"].str.contains("colour to grey", regex=False).sum()
    if converted:
        warn(f"{converted} colour images were made grey; --channels 3 keeps colour")
    for name, column in header["label_columns"].items():
        values = manifest[f"label.{name}"].astype("string")
        counts = values.value_counts()
        numbers = ", ".join(f"{value} {counts.get(value, 0)}" for value in column["classes"])
        say(f"label {name}: {numbers}, unknown {int(values.isna().sum())}")


def _say_splits(rule: SplitRule, manifest: pd.DataFrame) -> None:
    """Say what each split has got, of what was asked; which classes they lack, the audit says."""
    drawn, counts = rule.column is None, _count_splits(manifest)
    patients = manifest["patient_id"]
    what = "files" if is_unknown(patients).all() else "patients"
    for split, asked in zip(SPLITS, rule.fractions, strict=True):
        got = patients[manifest["split"] == split].nunique() / patients.nunique()
        shares = f" ({asked:.1%} of all {what} asked, {got:.1%} got)" if drawn else ""
        say(f"{split}: {counts[split]}{shares}")
    empty = [split for split in SPLITS if not counts[split].images]
    if empty:
        warn(
            f"no images in {' and '.join(empty)}: such a store pre-trains but cannot be scored"
            + (f"; {DRAW_OTHERWISE}" if drawn else "")
        )
