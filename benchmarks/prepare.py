"""Images per second and core of `prepare`, against the loop over Pillow that everybody writes.

    python benchmarks/prepare.py [--quick] [--again]

The peers decode each file, shrink it to 256 px and write it into an array, and do nothing else.
"Decoding" of ours is all that is done for each image: decoding, shrinking, checksums, fingerprints,
shards written durably. `prepare` is ours from beginning to end, with preview and audit. One thread,
processor time, generated files.
"""

import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import Result, interleave, measure_and_keep, spread, spread_of_ratio
from images import write_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.prepare.shards import write_shards
from medstrata.data.sources import from_folder
from section import Section, Target, number, paragraphs, processor, ratio, table

SIDE, SIZE = 1024, 256
AIM = 2.0  # against Pillow, bilinear
OURS, DECODING = "ours, prepare with its audit", "ours, decoding into shards"
FILTERS = {
    "Pillow, bilinear": Image.Resampling.BILINEAR,
    "Pillow, Lanczos": Image.Resampling.LANCZOS,
    "Pillow, box": Image.Resampling.BOX,
}
DRAFT = "Pillow, draft, bilinear"
CASES = {"colour JPEG": (3, "jpg"), "grey PNG": (1, "png")}  # channels and format
Loop = Callable[[Path], NDArray[np.uint8]]


def plain(mode: str, how: Image.Resampling) -> Loop:
    """With one of Pillow's filters."""

    def decode(file: Path) -> NDArray[np.uint8]:
        image = Image.open(file).convert(mode)
        return np.asarray(image.resize((SIZE, SIZE), how))

    return decode


def plain_drafted(file: Path) -> NDArray[np.uint8]:
    """What Pillow can do at most for a JPEG: decode it at a quarter, as `thumbnail` would."""
    image = Image.open(file)
    image.draft("RGB", (SIZE, SIZE))
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def run_loop(files: list[Path], channels: int, decode: Loop) -> Callable[[], None]:
    def run() -> None:
        array = np.empty((len(files), SIZE, SIZE, channels), dtype=np.uint8)
        for place, file in enumerate(files):
            array[place] = decode(file).reshape(SIZE, SIZE, channels)

    return run


def run_prepare(folder: Path) -> Callable[[], None]:
    def run() -> None:
        out = folder.with_suffix(".store")
        shutil.rmtree(out, ignore_errors=True)
        with contextlib.redirect_stderr(io.StringIO()):
            store = prepare(folder, out, PrepareSettings(size=SIZE), workers=1)
        assert len(store) == len(list(folder.iterdir()))  # nothing was refused

    return run


def run_decoding(folder: Path, channels: int) -> Callable[[], None]:
    form = StoreFormat(SIZE, channels, "pad", ReadSettings())

    def run() -> None:
        out = folder.with_suffix(".parts")
        shutil.rmtree(out, ignore_errors=True)
        (out / "parts").mkdir(parents=True)
        write_shards(from_folder(folder), out, form, workers=1)

    return run


def measure_case(folder: Path, channels: int, repeats: int) -> Result:
    files, mode = sorted(folder.iterdir()), {1: "L", 3: "RGB"}[channels]
    peers = {name: plain(mode, how) for name, how in FILTERS.items()}
    if channels == 3:
        peers[DRAFT] = plain_drafted
    tasks = {name: run_loop(files, channels, decode) for name, decode in peers.items()}
    tasks |= {DECODING: run_decoding(folder, channels), OURS: run_prepare(folder)}
    seconds = interleave(tasks, repeats, clock=time.process_time)
    return {
        name: {
            "images_per_s": spread([len(files) / one for one in runs]),
            "decoding_to_it": spread_of_ratio(runs, seconds[DECODING]),
            "prepare_to_it": spread_of_ratio(runs, seconds[OURS]),
        }
        for name, runs in seconds.items()
    }


def measure(quick: bool) -> Result:
    count, repeats = (8, 2) if quick else (192, 3)
    found: Result = {}
    with tempfile.TemporaryDirectory() as temporary:
        for title, (channels, ending) in CASES.items():
            folder = Path(temporary) / title
            write_images(folder, count, SIDE, channels, ending)
            found[title] = measure_case(folder, channels, repeats)
    return {"images": count, "repeats": repeats, "side": SIDE, "size": SIZE, "cases": found}


def section(results: list[Result]) -> Section:
    """Rates of decoding, and how many times as long the peers take."""
    found = results[-1]
    rows, targets = [], []
    for title in CASES:
        case = found["cases"][title]
        times = [
            ratio(case[name]["decoding_to_it"]) if name in case else "-"
            for name in (*FILTERS, DRAFT)
        ]
        rates = [number(case[name]["images_per_s"]["median"]) for name in (DECODING, OURS)]
        rows.append([title, *rates, *times])
        middle = case["Pillow, bilinear"]["decoding_to_it"]["median"]
        why = "inflating and undoing the PNG filters is most of it, on both sides"
        what = f"prepare, {title}: time(Pillow, bilinear) / time(our decoding)"
        targets.append(Target(what, AIM, middle, "x", processor(found["environment"]), why=why))
    head = (
        f"`python benchmarks/prepare.py`: {found['images']} files of {found['side']:,} px "
        f"to {found['size']} px, one thread, processor time, {found['repeats']} turns. "
        '"Decoding" is all that is done for each image: decoding, shrinking, checksums, '
        "fingerprints, shards written durably. The peers decode and shrink, and do nothing else. "
        "Ratios are time(peer) / time(our decoding)."
    )
    heads = ["", "decoding, images/s", "all of prepare, images/s", *FILTERS, "`draft` to a quarter"]
    tail = (
        "The whole of `prepare` also looks at up to 64 files beforehand, audits, and draws the "
        "preview: on so few files that costs as much again, on thousands little. "
        "[log.md](../project/log.md) says where the time of grey PNG goes."
    )
    return Section("Preparing a store", paragraphs(head, table(heads, rows), tail), targets)


def main() -> None:
    measure_and_keep("prepare", __doc__, measure, section)


if __name__ == "__main__":
    main()
