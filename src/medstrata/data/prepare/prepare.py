"""From image files and a table of labels to a store.

Legend: N samples.
"""

import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from medstrata.data.audit.audit import audit, read_audit, refuse_leakage
from medstrata.data.audit.duplicates import Duplicates
from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read_settings import Axis, ReadSettings
from medstrata.data.prepare.annotations import Columns
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.inputs import find_images, find_known
from medstrata.data.prepare.manifest import assemble
from medstrata.data.prepare.resize import FITS
from medstrata.data.prepare.shards import probe_images, write_shards
from medstrata.data.sources import Sources
from medstrata.data.store.open import open_store
from medstrata.data.store.store import FORMAT, Store
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import replacing, write_text
from medstrata.runtime.machine import default_threads

_PREVIEWED = 256  # images of a preview
_SMALLEST, _LARGEST_KEPT = 8, 4096  # sides of stored images in pixels
_LARGEST = 256  # the default side is not above it unless patches are kept as they are


def prepare(
    source: Path | str,
    out: Path | str,
    *,
    dataset: str | None = None,
    labels: Path | str | None = None,
    size: int | None = None,
    channels: int | None = None,
    fit: str = "pad",
    window: str = "first",
    frames: str = "middle",
    axis: Axis = "axial",
    bits: Literal[8, 16] = 8,
    file_column: str | None = None,
    patient_column: str | None = None,
    site_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    ordinal_columns: Sequence[str] = (),
    uncertain: str = "unknown",
    split: str | None = None,
    preview: bool = False,
    seed: int = 0,
    workers: int | None = None,
    max_quarantine: float = 0.1,
    allow_leakage: bool = False,
    overwrite: bool = False,
) -> Store:
    """Decode images once into a store, with patients, labels and splits.

    Started again after an interruption with the same arguments it goes on where it was; a finished
    store of the same arguments is returned as it is. It ends with the audit; splits that are drawn
    keep patients together that share an image.

    Args:
        source: Folder tree of images (PNG, JPEG, TIFF, WebP, JPEG 2000, DICOM, NIfTI), or a CSV or
            Parquet list of them with paths relative to the list's folder.
        out: Folder of the store.
        dataset: Name of a known data set that lies at `source`, as `medstrata datasets` lists them;
            its files, patients, labels and splits are then those of its own index.
        labels: CSV or Parquet table; `source` itself if that is a list.
        size: Side of the stored images in pixels; by default the longest side among some images,
            at most 256.
        channels: 1 or 3; by default 1 if some images looked at are all grey.
        fit: "pad" with black, "crop" to the middle or "stretch" images that are not square; "keep"
            patches at their size, or cut out the lit circle of a "fundus".
        window: How deep grey values become grey levels, as `ReadSettings.window`.
        frames: Which images of a file with several, as `ReadSettings.frames`.
        axis: Along which volumes are cut, as `ReadSettings.axis`.
        bits: 8, or 16 for grey images whose depth is to be kept.
        file_column: Column with file names; guessed by default.
        patient_column: Column to split by; guessed by default, else a salted hash of the patient
            that a DICOM file names, else each image is a patient.
        site_column: Column that says where an image was made; guessed by default.
        label_columns: Label columns; guessed by default.
        ordinal_columns: Label columns whose numbers have an order.
        split: Shares of images as "0.7/0.1/0.2" (the default), a column that holds train, val and
            test, values of a column as "fold:test=0,val=1", where the others train, or the name of
            a ready-made split of the known data set, whose first is the default there.
        uncertain: What uncertain labels of a known data set count as: "unknown", "negative" or
            "positive".
        preview: Take only 256 evenly spaced images, to look at preview.png before hours are spent;
            the same command without it replaces such a store.
        seed: Decides drawn splits.
        workers: Decoding threads; by default one a core.
        max_quarantine: Share of unreadable images, 0 to 1, above which no store is made.
        allow_leakage: Go on where the same patient or image is in two splits.
        overwrite: Delete a store in the way first.

    Returns:
        The store.

    Raises:
        MedstrataError: an argument is out of range; there are no images or too many unreadable
            ones; table and images do not fit; `out` holds something else or cannot be written; the
            audit finds leakage (the store is made nevertheless).
    """
    source, out = Path(source), Path(out).resolve()
    workers = default_threads() if workers is None else workers
    _check(size, channels, fit, workers, max_quarantine)
    reading = ReadSettings(window=window, frames=frames, axis=axis, bits=bits)
    columns = Columns(
        file=file_column,
        patient=patient_column,
        site=site_column,
        labels=None if label_columns is None else list(label_columns),
        ordinal=list(ordinal_columns),
    )
    if dataset is not None and labels is not None:
        raise MedstrataError(f"data set {dataset} has labels of its own: leave --labels out")
    if dataset is None:
        table = None if labels is None else Path(labels)
        found = find_images(source, table, split, reading, columns, workers)
    else:
        found = find_known(source, dataset, split, uncertain)
    if preview:
        found = found.thinned(_PREVIEWED)
    form = _resolve_form(found.sources, size, channels, fit, reading, workers)
    plan = {
        "format": FORMAT,
        "preview": preview,
        "dataset": dataset,
        "files": found.sources.digest,
        "size": form.size,
        "channels": form.channels,
        "fit": fit,
        **asdict(reading),
        "labels": found.digest,
        "file_column": file_column,
        "patient_column": patient_column,
        "site_column": site_column,
        "label_columns": columns.labels,
        "ordinal_columns": columns.ordinal,
        "uncertain": uncertain,
        "split": split,
        "seed": seed,
    }
    if _is_finished(out, plan, overwrite):
        say(f"{out} is ready: made before from the same files with the same settings")
        return _audited(out, allow_leakage, None)
    known = found.describe()
    try:
        _begin(out, plan)
        write_shards(found.sources, out, form, _salt(out), workers)
        rule = replace(found.rule, may_tear=allow_leakage)
        duplicates = assemble(out, found.sources, known, rule, form, plan, max_quarantine)
    except OSError as error:
        raise MedstrataError(
            f"{out} cannot be written ({error.strerror}): make room or name another folder with "
            "--out; the same command goes on where it was"
        ) from error
    return _audited(out, allow_leakage, duplicates)


def _audited(out: Path, allow_leakage: bool, duplicates: Duplicates | None) -> Store:
    """Audit a store that has not been, and stop at leakage that is not allowed."""
    store = open_store(out)
    known = read_audit(store)
    if known is None:
        audit(store, allow_leakage=allow_leakage, duplicates=duplicates)
    else:
        refuse_leakage(known, allow_leakage)
    # The audit has read the whole manifest, which a store of its own need not hold.
    return open_store(out)


def _check(
    size: int | None, channels: int | None, fit: str, workers: int, max_quarantine: float
) -> None:
    if size is not None and not _SMALLEST <= size <= _LARGEST_KEPT:
        raise MedstrataError(f"size {size} must be 8 to 4096 pixels")
    if channels not in (None, 1, 3):
        raise MedstrataError(f"channels {channels} must be 1 (grey) or 3 (colour)")
    if fit not in FITS:
        raise MedstrataError(f"fit {fit!r} must be one of {', '.join(FITS)}")
    if workers < 1:
        raise MedstrataError(f"workers {workers} must be 1 or more")
    if not 0 <= max_quarantine <= 1:
        raise MedstrataError(f"max quarantine {max_quarantine} must be 0 to 1")


def _resolve_form(
    sources: Sources,
    size: int | None,
    channels: int | None,
    fit: str,
    reading: ReadSettings,
    workers: int,
) -> StoreFormat:
    if reading.bits == 16:
        if channels == 3:
            raise MedstrataError("16 bits are kept of grey images alone: leave --channels out")
        channels = 1
    if size is not None and channels is not None:
        return StoreFormat(size, channels, fit, reading)
    probes = probe_images(sources, reading, workers)
    images = [probe for probe in probes if isinstance(probe, DecodedImage)]
    if not images:
        raise MedstrataError(
            f"none of the {len(probes)} images looked at in {sources.root} can be read, the first: "
            f"{probes[0]}"
        )
    longest = max(max(image.width, image.height) for image in images)
    grey = all(image.pixels.ndim == 2 for image in images)
    largest = _LARGEST_KEPT if fit == "keep" else _LARGEST
    chosen = size or max(_SMALLEST, min(largest, longest))
    form = StoreFormat(chosen, channels or (1 if grey else 3), fit, reading)
    say(
        f"{len(images)} images looked at: longest side {longest} px, "
        f"{'all grey' if grey else 'colour'}; stored at {form.size} x {form.size} px, "
        f"{'grey' if form.channels == 1 else 'colour'}"
    )
    return form


def _is_finished(out: Path, plan: dict[str, Any], overwrite: bool) -> bool:
    """Whether `out` is the wanted store; clears it to be overwritten, raises if it is another."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    before = _plan_of(out)
    if before is None:
        raise MedstrataError(f"{out} exists and is not a store: give another folder with --out")
    if overwrite or (before.get("preview") and not plan["preview"]):
        _clear(out)
        return False
    changed = [name for name in plan if before.get(name) != plan[name]]
    if changed:
        raise MedstrataError(
            f"{out} was made or begun with other {', '.join(changed)}: give --overwrite to make it "
            "anew, or another folder with --out"
        )
    return (out / "store.json").is_file()


def _plan_of(out: Path) -> dict[str, Any] | None:
    """The settings that a store was made or begun with; None if there is no store."""
    try:
        if (out / "store.json").is_file():
            return dict(json.loads((out / "store.json").read_text(encoding="utf-8"))["plan"])
        return dict(json.loads((out / "parts" / "plan.json").read_text(encoding="utf-8")))
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        return {}


def _clear(out: Path) -> None:
    """Delete what `prepare` writes, and nothing else; the mark of a whole store goes first."""
    (out / "store.json").unlink(missing_ok=True)
    for pattern in (
        "images-*.npy",
        "manifest.parquet",
        "quarantine.csv",
        "preview.png",
        "audit.json",
        ".*.tmp",
    ):
        for path in out.glob(pattern):
            path.unlink()
    shutil.rmtree(out / "parts", ignore_errors=True)


def _salt(out: Path) -> bytes:
    """Random bytes that live as long as the store is unfinished, so that its hashes agree."""
    path = out / "parts" / "salt"
    if not path.is_file():
        with replacing(path) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_bytes(secrets.token_bytes(32))
    return path.read_bytes()


def _begin(out: Path, plan: dict[str, Any]) -> None:
    (out / "parts").mkdir(parents=True, exist_ok=True)
    for abandoned in (*out.glob(".*.tmp"), *out.glob("parts/.*.tmp")):
        abandoned.unlink()
    write_text(out / "parts" / "plan.json", json.dumps(plan, indent=2))
