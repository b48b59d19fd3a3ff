"""Images per second and core of `prepare`: against a plain loop over Pillow, or pydicom.

    python benchmarks/prepare.py [--quick] [--only WORD]

The peers decode each file, shrink it to 256 px and write it into an array, and do nothing else.
Ours is `prepare` from beginning to end: finding the files, looking at 64 of them, checksums,
shards, manifest, statistics, preview, all written durably. All in one thread and in processor time;
the last table compares wall time with one thread and with two.
"""

import argparse
import contextlib
import io
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness import Section, Target, interleave, read_result, spread, write_result
from images import textured
from medstrata.data.formats.read import AS_IT_COMES
from medstrata.data.prepare.decode import Form
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.shards import write_shards
from medstrata.data.sources import from_folder
from support.dicom_files import COMPRESSIONS, write_dicom
from wording import number, paragraphs, ratio, table

SIDE, SIZE = 1024, 256
DISTINCT = 32  # textures; files made of the same one are rolled against each other
OURS, DECODING = "ours, prepare with its audit", "ours, decoding into shards"
PEERS = ("bilinear", "Lanczos", "box")  # columns of the table; the first counts
DRAFT, WINDOW = "Pillow, draft, bilinear", "Pillow + NumPy, same window, bilinear"
Loop = Callable[[Path], NDArray[np.uint8]]


def plain(mode: str, how: Image.Resampling, gap: float | None = None) -> Loop:
    """The loop that everybody writes, with one of Pillow's filters."""

    def decode(file: Path) -> NDArray[np.uint8]:
        image = Image.open(file).convert(mode)
        return np.asarray(image.resize((SIZE, SIZE), how, reducing_gap=gap))

    return decode


def plain_drafted(file: Path) -> NDArray[np.uint8]:
    """What Pillow can do at most for a JPEG: decode it at a quarter, as `thumbnail` would."""
    image = Image.open(file)
    image.draft("RGB", (SIZE, SIZE))
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def plain_16_bit(file: Path) -> NDArray[np.uint8]:
    """With the window that ours applies, since `convert` would keep the high byte alone."""
    pixels = np.asarray(Image.open(file)).astype(np.float32)
    low, high = np.percentile(pixels, (0.5, 99.5))
    scaled = np.clip((pixels - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    image = Image.fromarray(scaled).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return np.asarray(image)


def plain_pydicom(file: Path) -> NDArray[np.uint8]:
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    data = pydicom.dcmread(file)
    values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(np.float32)
    low, high = values.min(), values.max()
    scaled = ((values - low) * (255 / (high - low))).astype(np.uint8)
    return np.asarray(cv2.resize(scaled, (SIZE, SIZE), interpolation=cv2.INTER_AREA))


def pillow_peers(mode: str) -> dict[str, Loop]:
    filters = Image.Resampling
    return {
        "Pillow, bilinear": plain(mode, filters.BILINEAR),
        "Pillow, Lanczos": plain(mode, filters.LANCZOS),
        "Pillow, box": plain(mode, filters.BOX),
        "Pillow, bilinear, reducing_gap 2": plain(mode, filters.BILINEAR, 2.0),
    }


def write_pillow(ending: str) -> Callable[[Path, NDArray[np.generic]], None]:
    def write(stem: Path, pixels: NDArray[np.generic]) -> None:
        Image.fromarray(pixels).save(stem.with_suffix(ending), quality=90)

    return write


def to_16_bit(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint16]:
    """Twelve bits, as detectors give: the texture and four bits of noise below it."""
    noise = np.random.default_rng(seed).integers(0, 16, pixels.shape, dtype=np.uint16)
    return pixels.astype(np.uint16) * 16 + noise


def cases() -> dict[str, tuple[int, bool, Callable[..., None], dict[str, Loop]]]:
    """By title: channels, whether 16 bits, how to write a file, and the peers; the first counts."""
    deep = {WINDOW: plain_16_bit} | pillow_peers("L")
    jpeg = pillow_peers("RGB") | {DRAFT: plain_drafted}
    grey_png, colour_jpeg = write_pillow(".png"), write_pillow(".jpg")
    return {
        "grey PNG": (1, False, grey_png, pillow_peers("L")),
        "colour JPEG": (3, False, colour_jpeg, jpeg),
        "grey PNG, 16 bit": (1, True, grey_png, deep),
    } | {
        f"DICOM, 16 bit, {name}": (1, True, write_dicom(syntax), {"pydicom": plain_pydicom})
        for name, syntax in COMPRESSIONS.items()
    }


def write_files(
    folder: Path, count: int, channels: int, write: Callable[..., None], *, deep: bool
) -> None:
    folder.mkdir()
    textures = [textured(SIDE, channels, seed) for seed in range(min(count, DISTINCT))]
    for place in range(count):
        pixels = np.roll(textures[place % DISTINCT], 7 * (place // DISTINCT), axis=0).squeeze()
        write(folder / f"{place:04d}", to_16_bit(pixels, place) if deep else pixels)


def run_loop(files: list[Path], channels: int, decode: Loop) -> Callable[[], None]:
    def run() -> None:
        array = np.empty((len(files), SIZE, SIZE, channels), dtype=np.uint8)
        for place, file in enumerate(files):
            array[place] = decode(file).reshape(SIZE, SIZE, channels)

    return run


def run_prepare(folder: Path, workers: int) -> Callable[[], None]:
    def run() -> None:
        out = folder.with_suffix(".store")
        shutil.rmtree(out, ignore_errors=True)
        with contextlib.redirect_stderr(io.StringIO()):
            store = prepare(folder, out, size=SIZE, workers=workers)
        assert len(store) == len(list(folder.iterdir()))  # nothing was refused

    return run


def run_decoding(folder: Path, channels: int) -> Callable[[], None]:
    """All that is done for each image: decoding, shrinking, checksums, fingerprints, shards."""
    form = Form(SIZE, channels, "pad", AS_IT_COMES)

    def run() -> None:
        out = folder.with_suffix(".parts")
        shutil.rmtree(out, ignore_errors=True)
        (out / "parts").mkdir(parents=True)
        write_shards(from_folder(folder), out, form, b"salt", workers=1)

    return run


def measure(folder: Path, channels: int, peers: dict[str, Loop], repeats: int) -> dict[str, Any]:
    files = sorted(folder.iterdir())
    tasks = {name: run_loop(files, channels, decode) for name, decode in peers.items()}
    tasks[DECODING] = run_decoding(folder, channels)
    tasks[OURS] = run_prepare(folder, workers=1)
    seconds = interleave(tasks, repeats, clock=time.process_time)
    return {
        name: {
            "images_per_s": spread([len(files) / one for one in runs]),
            "decoding_to_it": _ratio(runs, seconds[DECODING]),
            "prepare_to_it": _ratio(runs, seconds[OURS]),
        }
        for name, runs in seconds.items()
    }


def _ratio(peer: list[float], ours: list[float]) -> dict[str, float]:
    return spread([one / other for one, other in zip(peer, ours, strict=True)])


def measure_scaling(folder: Path, repeats: int) -> dict[str, Any]:
    count = len(list(folder.iterdir()))
    tasks = {f"{workers} threads": run_prepare(folder, workers) for workers in (1, 2)}
    seconds = interleave(tasks, repeats)
    one, two = seconds.values()
    gain = spread([a / b for a, b in zip(one, two, strict=True)])
    rates = {name: spread([count / run for run in runs]) for name, runs in seconds.items()}
    return {"images_per_s": rates, "gain_of_two": gain}


def show(title: str, rows: dict[str, Any], scaling: dict[str, Any]) -> None:
    print(f"\n{title}, {SIDE} px to {SIZE} px")
    print(f"{'':40}{'images/s':>10}{'decoding to it':>16}{'range':>14}{'prepare to it':>15}")
    for name, row in rows.items():
        rate, ratio = row["images_per_s"]["median"], row["decoding_to_it"]
        ends = f"{ratio['lowest']:.2f} - {ratio['highest']:.2f}"
        whole = row["prepare_to_it"]["median"]
        print(f"{name:40}{rate:10.1f}{ratio['median']:16.2f}{ends:>14}{whole:15.2f}")
    gain = scaling["gain_of_two"]
    ends = f"{gain['lowest']:.2f} - {gain['highest']:.2f}"
    print(f"{'two threads to one, wall time':50}{gain['median']:12.2f}{ends:>20}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Images per second and core of prepare.")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, nothing written")
    parser.add_argument("--only", default="", help="cases with this word in their title")
    arguments = parser.parse_args()
    count, repeats = (32, 2) if arguments.quick else (192, 3)
    cv2.setNumThreads(1)
    results: dict[str, Any] = {}
    for title, (channels, deep, write, peers) in cases().items():
        if arguments.only not in title:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "images"
            # Compressed DICOM takes a seventh of a second a file, on both sides.
            some = count // 4 if title.startswith("DICOM") else count
            write_files(folder, some, channels, write, deep=deep)
            rows = measure(folder, channels, peers, repeats)
            scaling = measure_scaling(folder, repeats)
        results[title] = {"processor_time": rows, "wall_time": scaling}
        show(title, rows, scaling)
    if arguments.quick or arguments.only:
        return
    settings = {"images": count, "repeats": repeats, "side": SIDE, "size": SIZE}
    print(f"\nwritten to {write_result('prepare', settings | {'cases': results})}")


def section() -> Section:
    """Of docs/performance.md."""
    found = read_result("prepare")
    cases: dict[str, Any] = found["cases"]
    rows, targets = [], []
    for title, aim in (("colour JPEG", 2.0), ("grey PNG", 2.0), ("grey PNG, 16 bit", None)):
        case = cases[title]["processor_time"]
        cells = [title, number(case[DECODING]["images_per_s"]["median"])]
        if aim is None:
            cells += [ratio(case[WINDOW]["decoding_to_it"]), "-", "-", "-"]
        else:
            cells += [ratio(case[f"Pillow, {peer}"]["decoding_to_it"]) for peer in PEERS]
            cells.append(ratio(case[DRAFT]["decoding_to_it"]) if DRAFT in case else "-")
            middle = case["Pillow, bilinear"]["decoding_to_it"]["median"]
            what = f"prepare, {title}: time(Pillow, bilinear) / time(our decoding)"
            why = "inflating and undoing the PNG filters is most of it, on both sides"
            targets.append(Target(what, aim, middle, "x", why="" if middle >= aim else why))
        rows.append(cells)
    dicom = [
        ratio(cases[f"DICOM, 16 bit, {name}"]["processor_time"]["pydicom"]["decoding_to_it"])
        for name in COMPRESSIONS
    ]
    whole = {
        title: cases[title]["processor_time"]["Pillow, bilinear"]["prepare_to_it"]["median"]
        for title in ("colour JPEG", "grey PNG")
    }
    gains = [case["wall_time"]["gain_of_two"]["median"] for case in cases.values()]
    head = (
        f"`python benchmarks/prepare.py`: {found['images']} files of {found['side']:,} px "
        f"({found['images'] // 4} of DICOM) to {found['size']} px, one thread, processor time, "
        f'{found["repeats"]} turns. "Decoding" is all that is done for each image: decoding, '
        "shrinking, checksums, fingerprints, shards written durably. The peers decode and shrink, "
        "and do nothing else. Ratios are time(peer) / time(ours). Of 16 bits the peer is Pillow "
        "with NumPy, which applies the same window."
    )
    heads = ["decoding", "images a second and core", "Pillow, bilinear", "Lanczos", "box"]
    photographs = table([*heads, "`draft` to a quarter"], rows)
    by_syntax = table(
        ["DICOM, 16 bit", *COMPRESSIONS], [["decoding against pydicom with its window", *dicom]]
    )
    tail = (
        "The whole of `prepare` also looks at up to 64 files beforehand, audits, and draws the "
        f"preview. On so few files that costs as much again (JPEG {whole['colour JPEG']:.2f}, PNG "
        f"{whole['grey PNG']:.2f} of the bilinear loop), on thousands little. Two threads gained "
        f"{min(gains):.1f} to {max(gains):.1f} in wall time. [log.md](log.md) says where the time "
        "of grey PNG goes."
    )
    text = paragraphs(head, photographs, by_syntax, tail)
    return Section("Preparing a store", text, targets)


if __name__ == "__main__":
    main()
