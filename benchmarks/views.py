"""Two-view samples per second and core: ours from the store against other libraries' transforms.

    python benchmarks/views.py [--quick]

Every task runs in one thread and is measured in processor time. Lightly starts from the files as
its data set class does (PIL, three channels) and ends with normalised float tensors. Ours starts
from a store, whose making is a cost paid once, and ends with uint8, which the training step
normalises on its device; a second row adds that step, so that both end with the same. The others
(`peers.views`) start from the pixels of the 256 px store, decoded and in memory.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import peers
from harness import Result, interleave, measure_and_keep, spread, spread_of_ratio
from images import write_images
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.data.view_settings import moco_v2
from medstrata.data.views import make_views
from section import Section, Target, number, paragraphs, processor, ratio, table

VIEW_SIZE = 224
PEER_SIZE = 256
OURS = f"ours, {PEER_SIZE} px store"
AIMS = {"colour": 700, "grey": 1300}  # two-view samples a second and core
LIGHTLY = "lightly, from the files"
# What is drawn: sides of the files, channels and format.
CASES = {
    "colour JPEG, 512 px, generated": (512, 3, "jpg"),
    "grey PNG, 1024 px, generated": (1024, 1, "png"),
}


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


def measure_case(folder: Path, channels: int, repeats: int) -> Result:
    files = sorted(folder.iterdir())
    in_memory = list(decoded(files, "RGB"))
    lightly = partial(peers.lightly_views, VIEW_SIZE)
    tasks = {
        LIGHTLY: lightly(lambda: decoded(files, "RGB")),
        "lightly, decoded beforehand": lightly(lambda: iter(in_memory)),
    }
    if channels == 1:
        tasks["lightly, from the files, one channel"] = lightly(lambda: decoded(files, "L"))
    for size in (PEER_SIZE, 512):
        images = prepare(
            folder, folder.with_suffix(f".{size}.store"), PrepareSettings(size=size), workers=1
        )
        tasks[f"ours, {size} px store"] = ours_from_store(images, as_float=False)
        tasks[f"ours, {size} px store, to float"] = ours_from_store(images, as_float=True)
        if size == PEER_SIZE:
            pixels = np.stack([images[row] for row in range(len(images))])
            tasks |= peers.views(VIEW_SIZE, pixels)
    seconds = interleave(tasks, repeats, clock=time.process_time)
    return {
        name: {
            "samples_per_s": spread([len(files) / one for one in runs]),
            "ours_to_it": spread_of_ratio(runs, seconds[OURS]),
        }
        for name, runs in seconds.items()
    }


def measure(quick: bool) -> Result:
    count, repeats = (8, 2) if quick else (48, 9)
    found: Result = {}
    with tempfile.TemporaryDirectory() as folder:
        for title, (size, channels, ending) in CASES.items():
            files = Path(folder) / title
            write_images(files, count, size, channels, ending)
            found[title] = measure_case(files, channels, repeats)
    return {"images": count, "repeats": repeats, "cases": found}


def section(results: list[Result]) -> Section:
    """Rates of every way, and how many times as fast ours is."""
    found = results[-1]
    cases: Result = found["cases"]
    rows = []
    for name in dict.fromkeys(name for measured in cases.values() for name in measured):
        cells = [name]
        for measured in cases.values():
            row = measured.get(name)
            rate = "-" if row is None else number(row["samples_per_s"]["median"])
            cells += [rate, "-" if row is None or name == OURS else ratio(row["ours_to_it"], 1)]
        rows.append(cells)
    head = (
        "`python benchmarks/views.py`, one thread, processor time, in turns: two-view samples a "
        f"second and core, views of {VIEW_SIZE} px by the recipe of MoCo v2. Lightly's transform "
        "starts from the files through Pillow, ours from the memory-mapped store, the others from "
        f'the pixels of that store. "Ours / it" compares our {PEER_SIZE} px store with the row.'
    )
    differ = (
        "The recipes agree in crop, flip, colour, grey and blur. Where they differ: kornia works "
        "on floats and resamples without antialiasing. Lightly's blur has a kernel of its own "
        "size, torchvision's and kornia's one of 13 pixels; albumentations and ours take it from "
        "the drawn width. The tests compare our views with torchvision's, each operation on the "
        "same parameters and the whole pipeline's crop boxes and pixel statistics."
    )
    rates = table(["", *(head for title in cases for head in (title, "ours / it"))], rows)
    targets = [
        Target(
            f"two-view samples a second and core, {title}, {PEER_SIZE} px store",
            AIMS[title.split()[0]],
            measured[OURS]["samples_per_s"]["median"],
            "samples/s",
            processor(found["environment"]),
        )
        for title, measured in cases.items()
    ]
    return Section("Two views from the store", paragraphs(head, rates, differ), targets)


def main() -> None:
    measure_and_keep("views", __doc__, measure, section)


if __name__ == "__main__":
    main()
