"""Time and memory of the search for copies, up to a million images.

    python benchmarks/audit.py [--quick]

Fingerprints are made up in three ways: *apart* (every bit by chance), *alike* (bits lean one way,
as those of one kind of image do) and *black* (half of the images are one and the same, a tenth
shares one fingerprint with different pixels). One image in a hundred is a copy of another with up
to three bits changed. Pixels are made from the sample number, so the disk has no part. Each case
runs in a process of its own; seconds are of one thread.
"""

import argparse
import json
import subprocess
import sys
import time
from functools import lru_cache

import cv2
import numpy as np
import pandas as pd

from harness import Section, held_memory, read_result, write_result
from medstrata.data.audit.duplicates import find_duplicates
from wording import gib, number, paragraphs, table

SIZES = (10_000, 100_000, 1_000_000)
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


def measure(kind: str, images: int) -> dict[str, object]:
    manifest, content, copies = made_up(kind, images)
    noise()

    def read(row: int) -> np.ndarray:
        top, left = divmod(int(content[row]) * 7919 % 2**20, 1024)
        return noise()[top : top + SIDE, left : left + SIDE, None]

    before = held_memory("VmHWM")
    started = time.perf_counter()
    found = find_duplicates(manifest, read)
    seconds = time.perf_counter() - started
    recovered = np.isin(copies, np.concatenate([found.first, found.second])).mean()
    return {
        "kind": kind,
        "images": images,
        "seconds": seconds,
        "peak_gib": held_memory("VmHWM"),
        "peak_gib_before": before,
        "candidates": found.candidates,
        "radius": found.radius,
        "complete": found.complete,
        "near_pairs": len(found.first),
        "planted": len(copies),
        "planted_found": float(recovered) if len(copies) else None,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for copies.")
    parser.add_argument("--quick", action="store_true", help="the smallest size, nothing written")
    parser.add_argument("--one", nargs=2, metavar=("KIND", "IMAGES"), help="one case, as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one[0], int(given.one[1]))))
        return
    print(
        f"{'':8}{'images':>10}{'seconds':>9}{'GiB':>6}{'candidates':>12}{'radius':>8}{'found':>8}"
    )
    rows = []
    for images in SIZES[:1] if given.quick else SIZES:
        for kind in KINDS:
            words = [sys.executable, __file__, "--one", kind, str(images)]
            row = json.loads(subprocess.run(words, check=True, capture_output=True).stdout)
            share = "" if row["planted_found"] is None else f"{row['planted_found']:.1%}"
            print(
                f"{kind:8}{images:10,}{row['seconds']:9.1f}{row['peak_gib']:6.2f}"
                f"{row['candidates']:12,}{row['radius']:8}{share:>8}",
                flush=True,
            )
            rows.append(row)
    if not given.quick:
        print(f"\nwritten to {write_result('audit', {'rows': rows})}")


def section() -> Section:
    """Of docs/performance.md."""
    cases = {(row["kind"], row["images"]): row for row in read_result("audit")["rows"]}
    rows = []
    for images in sorted({images for _, images in cases}):
        kinds = [cases[kind, images] for kind in KINDS]
        found = [row["planted_found"] for row in kinds if row["planted_found"] is not None]
        rows.append(
            [
                number(images),
                *(f"{number(row['seconds'])} s" for row in kinds),
                gib(max(row["peak_gib"] for row in kinds)),
                f"{100 * min(found):.0f} % or more",
            ]
        )
    head = (
        "`python benchmarks/audit.py`, one thread, generated fingerprints and stores, one image in "
        'a hundred a planted copy. "Apart": fingerprints as far apart as chance has them; "alike": '
        'bunched as those of chest X-rays are; "black": half of the images are.'
    )
    heads = ["images", *KINDS, "most memory", "planted copies found"]
    text = paragraphs(head, table(heads, rows, "rrrrrr"))
    return Section("Search for copies", text)


if __name__ == "__main__":
    main()
