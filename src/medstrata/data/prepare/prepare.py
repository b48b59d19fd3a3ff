"""From image files and a table of labels to a store.

Legend: N samples.
"""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from medstrata.data.audit.audit import audit, read_audit, refuse_leakage
from medstrata.data.audit.duplicates import Duplicates
from medstrata.data.formats.image import DecodedImage
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.inputs import InputTable, find_inputs
from medstrata.data.prepare.manifest import assemble
from medstrata.data.prepare.patients import patients_of_paths
from medstrata.data.prepare.settings import LARGEST_KEPT, SMALLEST, PrepareSettings
from medstrata.data.prepare.shards import probe_images, write_shards
from medstrata.data.sources import Sources
from medstrata.data.store.layout import FILES
from medstrata.data.store.open import open_store
from medstrata.data.store.store import FORMAT, Store
from medstrata.runtime.console import say
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.files import write_text
from medstrata.runtime.lock import LOCK_FILES, locked
from medstrata.runtime.machine import default_threads
from medstrata.runtime.randomness import DRAWS_VERSION

_PREVIEWED = 256  # images of a preview
_LARGEST = 256  # the default side is not above it unless patches are kept as they are


def prepare(
    source: Path | str,
    out: Path | str,
    settings: PrepareSettings | None = None,
    *,
    preview: bool = False,
    workers: int | None = None,
    allow_leakage: bool = False,
    overwrite: bool = False,
) -> Store:
    """Decode images once into a store, with patients, labels and splits.

    Started again after an interruption with the same settings it goes on where it was; a finished
    store of the same settings is returned as it is. It ends with the audit; splits that are drawn
    keep patients together that share an image.

    Args:
        source: Folder tree of images (PNG, JPEG, TIFF, WebP, JPEG 2000, DICOM, NIfTI), or a CSV or
            Parquet list of them with paths relative to the list's folder; of a known data set,
            where it lies.
        out: Folder of the store.
        settings: How the store is made; by default as `PrepareSettings` is.
        preview: Take only 256 evenly spaced images, to look at preview.png before hours are spent;
            the same command without it replaces such a store.
        workers: Decoding threads; by default one a core.
        allow_leakage: Go on where the same patient or image is in two splits.
        overwrite: Delete a store in the way first.

    Returns:
        The store.

    Raises:
        MedstrataError: there are no images or too many unreadable ones; table and images do not
            fit; `out` holds something else or cannot be written; the audit finds leakage (the
            store is made nevertheless).
    """
    source, out = Path(source), Path(out).resolve()
    settings = settings or PrepareSettings()
    workers = default_threads() if workers is None else workers
    if workers < 1:
        raise MedstrataError(f"workers {workers} must be 1 or more")
    inputs = find_inputs(source, settings, workers)
    if preview:
        inputs = inputs.subset(_PREVIEWED)
    form = _resolve_form(inputs.sources, settings, workers)
    plan = _plan(settings, form, inputs, preview)
    if _is_finished(out, plan, overwrite):
        say(f"{out} is ready: made before from the same files with the same settings")
        return _audited(out, allow_leakage, None)
    annotations = inputs.describe()
    if settings.patient_from is not None:
        files = pd.Series(inputs.sources.files, dtype="string")
        patients = patients_of_paths(files, settings.patient_from)
        annotations.rows["patient_id"] = patients.take(inputs.sources.file_index).to_numpy()
    parts = out / "parts"  # which goes when the store is whole, and the lock with it
    duplicates = None
    try:
        parts.mkdir(parents=True, exist_ok=True)
        with locked(parts, out):
            if _is_finished(out, plan, overwrite):  # by another process, a moment ago
                shutil.rmtree(parts)
            else:
                _begin(out, plan, overwrite)
                write_shards(inputs.sources, out, form, workers, json.dumps(plan))
                rule = replace(inputs.rule, may_divide_patients=allow_leakage)
                duplicates = assemble(
                    out, inputs.sources, annotations, rule, form, plan, settings.max_quarantine
                )
    except OSError as error:
        raise MedstrataError(
            f"{out} cannot be written ({error.strerror or one_line(error)}): make room or name "
            "another folder with --out; the same command goes on where it was"
        ) from error
    return _audited(out, allow_leakage, duplicates)


def _plan(
    settings: PrepareSettings, form: StoreFormat, inputs: InputTable, preview: bool
) -> dict[str, Any]:
    """What decides the store's contents, to be kept in it: another plan is another store."""
    chosen = asdict(settings)
    del chosen["max_quarantine"]
    plan = {
        "format": FORMAT,
        "preview": preview,
        **chosen,
        "files": inputs.sources.digest,
        "size": form.size,
        "channels": form.channels,
        "labels": inputs.digest,
        # Where seeds decide nothing, nothing is drawn anew.
        "draws": DRAWS_VERSION if inputs.rule.column is None else None,
    }
    return dict(json.loads(json.dumps(plan)))  # as it is read again: with lists for tuples


def _audited(out: Path, allow_leakage: bool, duplicates: Duplicates | None) -> Store:
    """Audit a store that has not been, and stop at leakage that is not allowed."""
    store = open_store(out)
    audited = read_audit(store)
    if audited is None:
        audit(store, allow_leakage=allow_leakage, duplicates=duplicates, pixels=False)
        del store.manifest  # which the audit has read; a store of its own need not hold it
    else:
        refuse_leakage(audited, allow_leakage)
    return store


def _resolve_form(sources: Sources, settings: PrepareSettings, workers: int) -> StoreFormat:
    size, fit, reading = settings.size, settings.fit, settings.reading
    channels = 1 if reading.bits == 16 else settings.channels
    if size is not None and channels is not None:
        return StoreFormat(size, channels, fit, reading)
    probes = probe_images(sources, reading, workers)
    images = [probe for probe in probes if isinstance(probe, DecodedImage)]
    if not images:
        raise MedstrataError(
            f"none of the {len(probes)} images looked at in {sources.root} can be read, the first: "
            f"{sources.name(0)}: {probes[0]}"
        )
    longest = max(max(image.width, image.height) for image in images)
    grey = all(image.pixels.ndim == 2 for image in images)
    largest = LARGEST_KEPT if fit == "keep" else _LARGEST
    chosen = size or max(SMALLEST, min(largest, longest))
    form = StoreFormat(chosen, channels or (1 if grey else 3), fit, reading)
    say(
        f"{len(images)} images looked at: longest side {longest} px, "
        f"{'all grey' if grey else 'colour'}; stored at {form.size} x {form.size} px, "
        f"{'grey' if form.channels == 1 else 'colour'}"
    )
    return form


def _is_finished(out: Path, plan: dict[str, Any], overwrite: bool) -> bool:
    """Whether `out` is the wanted store, not to be made anew; raises if it is another."""
    if not out.exists() or (out.is_dir() and _is_empty(out)):
        return False
    before = _plan_of(out)
    if before is None:
        raise MedstrataError(f"{out} exists and is not a store: give another folder with --out")
    if overwrite or (before.get("preview") and not plan["preview"]):
        return False
    changed = [name for name in plan if before.get(name) != plan[name]]
    if changed:
        raise MedstrataError(
            f"{out} was made or begun with other {', '.join(changed)}: give --overwrite to make it "
            "anew, or another folder with --out"
        )
    return (out / "store.json").is_file()


def _is_empty(out: Path) -> bool:
    """Whether nothing is there but the beginning of a store that never began."""
    if any(path.name != "parts" for path in out.iterdir()):
        return False
    inside = (path.name for path in out.glob("parts/*"))
    return all(name in LOCK_FILES or name.endswith(".tmp") for name in inside)


def _plan_of(out: Path) -> dict[str, Any] | None:
    """The settings that a store was made or begun with; None if there is no store."""
    try:
        if (out / "store.json").is_file():
            return dict(read_json(out / "store.json")["plan"])
        return dict(read_json(out / "parts" / "plan.json"))
    except OSError:
        return None
    except (ValueError, KeyError, TypeError):
        return {}


def _begin(out: Path, plan: dict[str, Any], anew: bool) -> None:
    """Go on where this very store was begun; what else there is of a store is deleted first."""
    if anew or (out / "store.json").is_file() or _plan_of(out) != plan:
        (out / "store.json").unlink(missing_ok=True)  # the mark of a whole store goes first
        for pattern in (*FILES, ".*.tmp", "parts/*"):
            for path in out.glob(pattern):
                if path.name not in LOCK_FILES:
                    path.unlink()
    for abandoned in (*out.glob(".*.tmp"), *out.glob("parts/.*.tmp")):
        abandoned.unlink()
    write_text(out / "parts" / "plan.json", json.dumps(plan, indent=2))
