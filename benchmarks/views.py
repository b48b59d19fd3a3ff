"""Two-view samples per second and core: ours from the store, lightly's and others' ways beside it.

    python benchmarks/views.py [--quick] [--colour FOLDER] [--grey FOLDER]

Every task runs in one thread and is measured in processor time. Lightly starts from the files as
its data set class does (PIL, three channels) and ends with normalised float tensors. Ours starts
from a store, whose making is a cost paid once, and ends with uint8, which the training step
normalises on its device; a second row adds that step, so that both end with the same. The others
(`view_peers`) start from the pixels of the 256 px store, decoded and in memory.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from harness import Section, Target, interleave, read_result, spread, write_result
from images import copy_images, write_images
from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.store import Store
from medstrata.data.view_settings import moco_v2
from medstrata.data.views import make_views
from plots import times_as_fast
from view_peers import peers
from wording import number, paragraphs, picture, ratio, table

VIEW_SIZE = 224
PEER_SIZE = 256
OURS = f"ours, {PEER_SIZE} px store"
AIMS = {"colour": 700, "grey": 1300}  # two-view samples a second and core
PEER = "lightly, from the files"


def lightly_views(load: Callable[[], Iterator[Image.Image]]) -> Callable[[], None]:
    from lightly.transforms import MoCoV2Transform

    transform = MoCoV2Transform(input_size=VIEW_SIZE)

    def run() -> None:
        for image in load():
            first, second = transform(image)
            assert first.shape[1:] == second.shape[1:] == (VIEW_SIZE, VIEW_SIZE)

    return run


def decoded(files: list[Path], mode: str) -> Iterator[Image.Image]:
    for file in files:
        with Image.open(file) as image:
            yield image.convert(mode)


def ours_from_store(images: Store, *, as_float: bool) -> Callable[[], None]:
    rows, settings = np.arange(len(images)), moco_v2(VIEW_SIZE)
    epochs = iter(range(1_000_000))  # other draws in every run, as lightly's

    def run() -> None:
        views, _ = make_views(images, rows, settings, seed=0, epoch=next(epochs))
        if as_float:
            for view in views:
                tensor = torch.from_numpy(view).permute(0, 3, 1, 2).float().div_(255)
                tensor.sub_(0.45).div_(0.23)

    return run


def measure(folder: Path, channels: int, repeats: int) -> dict[str, Any]:
    files = sorted(folder.iterdir())
    in_memory = list(decoded(files, "RGB"))
    tasks = {
        PEER: lightly_views(lambda: decoded(files, "RGB")),
        "lightly, decoded beforehand": lightly_views(lambda: iter(in_memory)),
    }
    if channels == 1:
        tasks["lightly, from the files, one channel"] = lightly_views(lambda: decoded(files, "L"))
    for size in (256, 512):
        images = prepare(folder, folder.with_suffix(f".{size}.store"), size=size, workers=1)
        tasks[f"ours, {size} px store"] = ours_from_store(images, as_float=False)
        tasks[f"ours, {size} px store, to float"] = ours_from_store(images, as_float=True)
        if size == PEER_SIZE:
            tasks |= peers(VIEW_SIZE, np.stack([images[row] for row in range(len(images))]))
    seconds = interleave(tasks, repeats, clock=time.process_time)
    rates = {name: [len(files) / one for one in runs] for name, runs in seconds.items()}
    return {
        name: {
            "samples_per_s": spread(runs),
            "ratio": spread([one / peer for one, peer in zip(runs, rates[PEER], strict=True)]),
            "ours_to_it": spread([own / one for one, own in zip(runs, rates[OURS], strict=True)]),
        }
        for name, runs in rates.items()
    }


def show(title: str, rows: dict[str, Any]) -> None:
    print(f"\n{title}, views of {VIEW_SIZE} px")
    print(f"{'':40}{'two-view samples/s':>20}{'ratio':>8}{'ratio, lowest - highest':>26}")
    for name, row in rows.items():
        rate, ratio = row["samples_per_s"]["median"], row["ratio"]
        ends = f"{ratio['lowest']:.1f} - {ratio['highest']:.1f}"
        print(f"{name:40}{rate:20.1f}{ratio['median']:8.1f}{ends:>26}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Two-view samples per second and core.")
    parser.add_argument("--quick", action="store_true", help="a trial: few images, nothing written")
    parser.add_argument("--colour", type=Path, help="folder of colour images to use instead")
    parser.add_argument("--grey", type=Path, help="folder of grey images to use instead")
    arguments = parser.parse_args()
    count, repeats = (8, 3) if arguments.quick else (48, 9)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    cases: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for title, given, size, channels, ending in (
            ("colour JPEG", arguments.colour, 512, 3, "jpg"),
            ("grey PNG", arguments.grey, 1024, 1, "png"),
        ):
            if given is None:
                write_images(folder / title, count, size, channels, ending)
            else:
                copy_images(folder / title, count, given)
            name = f"{title}, {f'{size} px, generated' if given is None else given.name}"
            cases[name] = measure(folder / title, channels, repeats)
            show(name, cases[name])
    if arguments.quick:
        return
    settings = {"images": count, "repeats": repeats, "clock": "processor time, one thread"}
    print(f"\nwritten to {write_result('views', settings | {'cases': cases})}")


def section() -> Section:
    """Of docs/performance.md."""
    found = read_result("views")
    cases: dict[str, Any] = found["cases"]
    names = list(dict.fromkeys(name for rows in cases.values() for name in rows))
    rows_shown = []
    for name in names:
        cells = [name]
        for rows in cases.values():
            if name not in rows:
                cells += ["-", "-"]
                continue
            times = "" if name == OURS else ratio(rows[name]["ours_to_it"], 1)
            cells += [number(rows[name]["samples_per_s"]["median"]), times]
        rows_shown.append(cells)
    heads = [head for title in cases for head in (title, "ours / it")]
    head = (
        "`python benchmarks/views.py`, one thread, processor time, in turns: two-view samples a "
        f"second and core, views of {VIEW_SIZE} px by the recipe of MoCo v2. Lightly's transform "
        "starts from the files through Pillow, ours from the memory-mapped store, the others from "
        f'the pixels of that store. "ours / it" compares our {PEER_SIZE} px store with the row.'
    )
    differ = (
        "The recipes agree in crop, flip, colour, grey and blur. Where they differ: kornia works "
        "on floats and resamples without antialiasing. Lightly's blur has a kernel of its own "
        "size, torchvision's and kornia's one of 13 pixels; albumentations and ours take it from "
        "the drawn width."
    )
    checked = (
        "Our views are compared with torchvision's: each operation on the same parameters, crop "
        "boxes over thousands of draws, and pixel statistics of the whole pipeline "
        "(`tests/data/test_views.py`, `tests/data/test_views_pixels.py`). Through the whole "
        "pipeline with equal parameters the mean distance is 0.4 to 0.9 grey levels."
    )
    curve = picture("views", "Each way to make two views: how many times as fast ours is")
    rates = table(["", *heads], rows_shown)
    text = paragraphs(head, rates, curve, differ, checked)
    drawn = [
        (name, {title: rows[name]["ours_to_it"] for title, rows in cases.items() if name in rows})
        for name in names
        if not name.startswith("ours")
    ]
    figures = {"views": times_as_fast(drawn, f"{OURS}: samples a second / those of the row")}
    targets = [
        Target(
            f"two-view samples a second and core, {title}, {PEER_SIZE} px store",
            AIMS[title.split()[0]],
            rows[OURS]["samples_per_s"]["median"],
            "samples/s",
        )
        for title, rows in cases.items()
    ]
    return Section("Two views from the store", text, targets, figures)


if __name__ == "__main__":
    main()
