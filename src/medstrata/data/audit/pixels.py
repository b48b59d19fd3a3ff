"""Whether the pixels of a store are still those that were written."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.store.store import Store
from medstrata.runtime.console import progress_bar
from medstrata.runtime.errors import MedstrataError, first_few
from medstrata.runtime.threads import image_threads

_TOGETHER = 1024  # images that wait for a thread


def pixel_checksum(pixels: NDArray[Any]) -> str:
    """The first 32 hexadecimal digits of SHA-256 of an image's pixels, of any shape."""
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()[:32]


def changed_images(store: Store, rows: NDArray[np.int64]) -> list[str]:
    """Ids of the images whose pixels are not those that the manifest has the checksum of.

    Args:
        store: From `prepare`.
        rows: Sample numbers of the images to compare, shape (N,).
    """
    table = store.columns("sample_id", "pixel_checksum").iloc[rows]
    names, kept = (table[column].tolist() for column in table)
    changed: list[str] = []
    with image_threads() as threads, progress_bar() as bar:
        shown = bar.add_task("comparing pixels", total=len(rows))
        for start in range(0, len(rows), _TOGETHER):
            part = slice(start, start + _TOGETHER)
            found = threads.map(lambda row: pixel_checksum(store[row]), rows[part])
            for name, before, now in zip(names[part], kept[part], found, strict=True):
                changed += [name] if now != before else []
                bar.advance(shown)
    return changed


def require_unchanged(store: Store) -> None:
    """Refuse a store whose pixels have changed on the disk.

    Raises:
        MedstrataError: some have; the first are named.
    """
    if changed := changed_images(store, store.rows()):
        raise MedstrataError(
            f"{store.location}: {len(changed)} of {len(store)} images are not what was written "
            f"({first_few(changed)}): the shards have changed; copy the store again, or prepare it "
            "with --overwrite"
        )
