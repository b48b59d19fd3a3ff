"""Time and memory of the search for copies, up to a million images.

    python benchmarks/audit.py [--quick]

Fingerprints are made up in three ways: *apart* (every bit by chance), *alike* (bits lean one way,
as those of one kind of image do) and *black* (half of the images are one and the same, a tenth
shares one fingerprint with different pixels). One image in a hundred is a copy of another with up
to three bits changed. Pixels are made from the sample number, so the disk has no part. Each case
runs in a process of its own; seconds are of one thread.
"""

import time
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from harness import Result, held_memory, in_own_process, measure_and_keep
from medstrata.data.audit.duplicates import find_duplicates
from section import Section, number, paragraphs, table

KINDS = ("apart", "alike", "black")
SIDE = 128


def made_up(kind: str, images: int) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """A manifest, what each image shows, and which images are copies."""
    generator = np.random.default_rng(0)
    share = np.full(64, 0.5)
    if kind == "alike":
        share = np.where(generator.random(64) < 0.5, 0.75, 0.25)
    bits = np.concatenate([generator.random((part, 64)) < share for part in chunks(images)])
    content = np.arange(images)
    copies = generator.permutation(images)[: images // 100]
    originals = (copies + images // 2) % images
    bits[copies] = bits[originals]
    for _ in range(3):
        bits[copies, generator.integers(64, size=len(copies))] ^= True
    content[copies] = content[originals]
    checksum = np.arange(images).astype(str).astype(object)
    if kind == "black":
        bits[: images // 10] = False
        bits[images // 2 :] = False
        checksum[images // 2 :] = "black"
        copies = np.zeros(0, dtype=np.int64)
    words = np.packbits(bits, axis=1).view(np.int64).ravel()
    return pd.DataFrame({"pixel_checksum": checksum, "fingerprint": words}), content, copies


def chunks(images: int) -> list[int]:
    return [min(100_000, images - start) for start in range(0, images, 100_000)]


@lru_cache(maxsize=1)
def noise() -> np.ndarray:
    pixels = np.random.default_rng(1).integers(0, 256, (SIDE + 1024, SIDE + 1024), dtype=np.uint8)
    return cv2.GaussianBlur(pixels, (0, 0), 3) * 4


def measure_case(kind: str, images: int) -> Result:
    """One search; called in a process of its own, so that the peak of memory is its own."""
    cv2.setNumThreads(1)
    manifest, content, copies = made_up(kind, images)
    noise()

    def read(row: int) -> np.ndarray:
        top, left = divmod(int(content[row]) * 7919 % 2**20, 1024)
        return noise()[top : top + SIDE, left : left + SIDE, None]

    started = time.perf_counter()
    found = find_duplicates(manifest, read)
    seconds = time.perf_counter() - started
    recovered = np.isin(copies, np.concatenate([found.first, found.second]))
    return {
        "kind": kind,
        "images": images,
        "seconds": seconds,
        "peak_gib": held_memory("VmHWM"),
        "planted_found": float(recovered.mean()) if len(copies) else None,
    }


def measure(quick: bool) -> Result:
    sizes = (2_000,) if quick else (10_000, 100_000, 1_000_000)
    cases = [(kind, images) for images in sizes for kind in KINDS]
    return {"rows": [in_own_process(measure_case, *case) for case in cases]}


def section(results: list[Result]) -> Section:
    """Seconds of each kind, over the images."""
    found = results[-1]
    cases = {(row["kind"], row["images"]): row for row in found["rows"]}
    rows = []
    for images in sorted({images for _, images in cases}):
        kinds = [cases[kind, images] for kind in KINDS]
        shares = [row["planted_found"] for row in kinds if row["planted_found"] is not None]
        seconds = [f"{number(row['seconds'])} s" for row in kinds]
        peak = f"{max(row['peak_gib'] for row in kinds):.2f} GiB"
        rows.append([number(images), *seconds, peak, f"{100 * min(shares):.0f} % or more"])
    head = (
        "`python benchmarks/audit.py`, one thread, generated fingerprints and stores, one image in "
        'a hundred a planted copy. "Apart": fingerprints as far apart as chance has them; "alike": '
        'bunched as those of chest X-rays are; "black": half of the images are.'
    )
    heads = ["images", *KINDS, "most memory", "planted copies found"]
    return Section("Search for copies", paragraphs(head, table(heads, rows, "rrrrrr")))


def main() -> None:
    measure_and_keep("audit", __doc__, measure, section)


if __name__ == "__main__":
    main()
