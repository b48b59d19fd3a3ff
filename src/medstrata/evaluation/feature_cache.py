"""Features of the images an evaluation needs by one encoder, extracted once, kept in a folder."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from medstrata.data.store.store import Store
from medstrata.evaluation.rows import standardising_rows
from medstrata.models.encoders import LoadedEncoder, encoder_digest
from medstrata.models.features import StoredFeatures, extract_features, layer_widths
from medstrata.runtime.console import progress_bar, say, warn
from medstrata.runtime.files import atomic_file

# To be raised when the same encoder and store give other features.
_FORMAT = 2
_PATIENCE_S = 2.0


def evaluation_features(
    loaded: LoadedEncoder, store: Store, device: torch.device, folder: Path | str | None
) -> StoredFeatures:
    """Features of every image with a label of any kind, and of those that standardise them.

    They are those of all such images, whichever of them the caller needs: a batch of another
    make-up may differ in the last bit, and a score would depend on whether the folder was used.

    Args:
        loaded: The encoder; evaluated as it is, in evaluation mode.
        store: Where the images are.
        device: Where the encoder is to run.
        folder: Where features are kept, a file for each encoder, store and kind of device; made if
            it is not there. Several processes may use it at once. None keeps nothing.

    Returns:
        Features in float32, sample numbers ascending.
    """
    rows = _rows(store)
    if folder is None:
        return _extract(loaded, store, rows, device)
    name = _digest(loaded, store, device)
    folder = Path(folder)
    path = folder / f"{name}.safetensors"
    features = _read(path, loaded, rows)
    if features is not None:
        return features
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f".{name}.lock")
    try:
        lock.acquire(timeout=_PATIENCE_S)
    except Timeout:
        say(f"waiting for another process, which extracts the features for {path}")
        lock.acquire()
    try:
        features = _read(path, loaded, rows)
        if features is None:
            if path.is_file():
                warn(f"{path} is damaged; the features are extracted again")
            features = _extract(loaded, store, rows, device)
            with atomic_file(path) as temporary:
                save_file({"rows": rows, **features.layers()}, temporary)
    finally:
        lock.release()
    return features


def _rows(store: Store) -> NDArray[np.int64]:
    labels = store.columns(*(f"label.{name}" for name in store.label_columns))
    labelled = np.flatnonzero(labels.notna().any(axis=1)).astype(np.int64)
    return np.union1d(labelled, standardising_rows(store))


def _extract(
    loaded: LoadedEncoder, store: Store, rows: NDArray[np.int64], device: torch.device
) -> StoredFeatures:
    backbone = loaded.backbone.to(device).to(memory_format=torch.channels_last)
    with progress_bar() as bar:
        shown = bar.add_task(f"features of {loaded.arm}", total=len(rows))
        return extract_features(
            backbone,
            store,
            rows,
            loaded.preprocessing,
            device,
            advance=lambda images: bar.advance(shown, images),
        )


def _digest(loaded: LoadedEncoder, store: Store, device: torch.device) -> str:
    """Names all that decides the features; another kind of device rounds otherwise."""
    described = {
        "format": _FORMAT,
        "encoder": encoder_digest(loaded),
        "store": store.digest,
        "device": device.type,
    }
    text = json.dumps(described, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _read(path: Path, loaded: LoadedEncoder, rows: NDArray[np.int64]) -> StoredFeatures | None:
    """What the file holds; None where there is no file, or not these features of these rows."""
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError):
        return None
    widths = layer_widths(loaded.backbone)
    wanted = {name: ((len(rows), width), np.dtype(np.float32)) for name, width in widths.items()}
    kept = arrays.pop("rows", None)
    if kept is None or not np.array_equal(kept, rows):
        return None
    if {name: (array.shape, array.dtype) for name, array in arrays.items()} != wanted:
        return None
    stages = {stage: arrays[stage] for stage in loaded.backbone.stage_channels}
    return StoredFeatures(rows, stages, arrays["pooled"])
