"""From image files and a table of labels to a store.

Legend: N samples.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medstrata.console import say
from medstrata.data.annotations import annotate, file_names, no_annotations
from medstrata.data.assemble import assemble
from medstrata.data.audit import audit, read_audit, refuse_leakage
from medstrata.data.duplicates import Duplicates
from medstrata.data.readers import Image
from medstrata.data.shards import Form, default_workers, probe_images, write_shards
from medstrata.data.sources import Sources, from_folder, from_list
from medstrata.data.split_rules import parse_rule
from medstrata.data.squares import FITS
from medstrata.data.store import FORMAT, Store, open_store
from medstrata.data.tables import read_table
from medstrata.errors import MedstrataError
from medstrata.files import write_text

_LARGEST = 256  # pixels; the default side is not above it


def prepare(
    source: Path | str,
    out: Path | str,
    *,
    labels: Path | str | None = None,
    size: int | None = None,
    channels: int | None = None,
    fit: str = "pad",
    file_column: str | None = None,
    patient_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    ordinal_columns: Sequence[str] = (),
    split: str | None = None,
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
        source: Folder tree of PNG, JPEG and TIFF files, or a CSV or Parquet list of them with
            paths relative to the list's folder.
        out: Folder of the store.
        labels: CSV or Parquet table; `source` itself if that is a list.
        size: Side of the stored images in pixels; by default the longest side among some images,
            at most 256.
        channels: 1 or 3; by default 1 if some images looked at are all grey.
        fit: "pad" with black, "crop" to the middle or "stretch" images that are not square.
        file_column: Column with file names; guessed by default.
        patient_column: Column to split by; guessed by default, else each image is a patient.
        label_columns: Label columns; guessed by default.
        ordinal_columns: Label columns whose numbers have an order.
        split: Shares of images as "0.7/0.1/0.2" (the default), a column that holds train, val and
            test, or values of a column as "fold:test=0,val=1", where the others train.
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
    workers = default_workers() if workers is None else workers
    _check(size, channels, fit, workers, max_quarantine)
    rule = parse_rule(split)
    table_path = Path(labels) if labels is not None else None
    sources = _find_sources(source, file_column)
    if source.is_file() and table_path is None:
        table_path = source
    form = _resolve_form(sources, size, channels, fit, workers)
    plan = {
        "format": FORMAT,
        "files": sources.digest,
        **asdict(form),
        "labels": None if table_path is None else _file_digest(table_path),
        "file_column": file_column,
        "patient_column": patient_column,
        "label_columns": None if label_columns is None else list(label_columns),
        "ordinal_columns": list(ordinal_columns),
        "split": split,
        "seed": seed,
    }
    if _is_finished(out, plan, overwrite):
        say(f"{out} is ready: made before from the same files with the same settings")
        return _audited(open_store(out), allow_leakage, None)
    known = no_annotations(sources.names)
    if table_path is not None:
        table = read_table(table_path)
        known = annotate(
            sources,
            table,
            file_names(table, table_path, file_column, sources.root),
            table_path,
            patient_column=patient_column,
            label_columns=label_columns,
            ordinal_columns=ordinal_columns,
            split_column=rule.column,
        )
    elif rule.column is not None:
        raise MedstrataError(f"split {split!r} names a column: give the table with --labels")
    try:
        _begin(out, plan)
        write_shards(sources.root, sources.names, out, form, workers)
        duplicates = assemble(out, sources, known, rule, form, plan, max_quarantine)
    except OSError as error:
        raise MedstrataError(
            f"{out} cannot be written ({error.strerror}): make room or name another folder with "
            "--out; the same command goes on where it was"
        ) from error
    return _audited(open_store(out), allow_leakage, duplicates)


def _audited(store: Store, allow_leakage: bool, duplicates: Duplicates | None) -> Store:
    """Audit a store that has not been, and stop at leakage that is not allowed."""
    known = read_audit(store)
    if known is None:
        audit(store, allow_leakage=allow_leakage, duplicates=duplicates)
    else:
        refuse_leakage(known, allow_leakage)
    return store


def _find_sources(source: Path, file_column: str | None) -> Sources:
    if not source.exists():
        raise MedstrataError(f"{source} does not exist; give a folder of images or a list of them")
    if source.is_dir():
        return from_folder(source)
    table = read_table(source)
    return from_list(source, file_names(table, source, file_column, source.parent.resolve()))


def _check(
    size: int | None, channels: int | None, fit: str, workers: int, max_quarantine: float
) -> None:
    if size is not None and not 8 <= size <= 4096:
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
    sources: Sources, size: int | None, channels: int | None, fit: str, workers: int
) -> Form:
    if size is not None and channels is not None:
        return Form(size, channels, fit)
    probes = probe_images(sources.root, sources.names, workers)
    images = [probe for probe in probes if isinstance(probe, Image)]
    if not images:
        raise MedstrataError(
            f"none of the {len(probes)} images looked at in {sources.root} can be read, the first: "
            f"{probes[0]}"
        )
    longest = max(max(image.width, image.height) for image in images)
    grey = all(image.pixels.ndim == 2 for image in images)
    form = Form(size or max(8, min(_LARGEST, longest)), channels or (1 if grey else 3), fit)
    say(
        f"{len(images)} images looked at: longest side {longest} px, "
        f"{'all grey' if grey else 'colour'}; stored at {form.size} x {form.size} px, "
        f"{'grey' if form.channels == 1 else 'colour'}"
    )
    return form


def _file_digest(path: Path) -> str:
    if not path.is_file():
        raise MedstrataError(f"{path} is missing: give a CSV or Parquet file")
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _is_finished(out: Path, plan: dict[str, Any], overwrite: bool) -> bool:
    """Whether `out` is the wanted store; clears it to be overwritten, raises if it is another."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    before = _plan_of(out)
    if before is None:
        raise MedstrataError(f"{out} exists and is not a store: give another folder with --out")
    if overwrite:
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


def _begin(out: Path, plan: dict[str, Any]) -> None:
    (out / "parts").mkdir(parents=True, exist_ok=True)
    for abandoned in (*out.glob(".*.tmp"), *out.glob("parts/.*.tmp")):
        abandoned.unlink()
    write_text(out / "parts" / "plan.json", json.dumps(plan, indent=2))
