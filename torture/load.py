"""Much of everything, in the processor's time of one core."""

import json
import resource
import shutil
from collections.abc import Sequence

from harness import Bench, run
from material import Material

_CSV = "file,patient_id"


def columns(bench: Bench, material: Material) -> None:
    """A hundred label columns are audited in 10 s, two thousand in 2 minutes."""
    for number, seconds in ((100, 10), (2000, 120)):
        if number > 100 and bench.share < 1:
            continue
        rows = [_CSV + "".join(f",finding {column}" for column in range(number))]
        for image in range(60):
            marks = "".join(f",{bench.random.randrange(2)}" for _ in range(number))
            rows.append(f"{image:03d}.png,ug{image % 20}{marks}")
        labels, store = bench.folder / f"{number}.csv", bench.folder / f"{number}.store"
        labels.write_text("\n".join([*rows, ""]))
        words = [*material.prepare(store)[:2], "--labels", labels, "--out", store]
        _measure(bench, f"{number} label columns prepared", words, 2 * seconds)
        _measure(bench, f"{number} label columns audited in {seconds} s", ["audit", store], seconds)


def images(bench: Bench, material: Material) -> None:
    """A hundred thousand images of 16 px through prepare, audit and an epoch."""
    import cv2
    import numpy as np

    number = bench.tries(100_000)
    folder, store = bench.folder / "images", bench.folder / "many.store"
    folder.mkdir()
    rows = [f"{_CSV},finding"]
    generator = np.random.default_rng(17)
    for image in range(number):
        pixels = generator.integers(0, 256, (16, 16), dtype=np.uint8)
        (folder / f"{image:06d}.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        rows.append(f"{image:06d}.png,p{image // 2},{image // 2 % 2}")
    labels = bench.folder / "labels.csv"
    labels.write_text("\n".join([*rows, ""]))
    prepared = ["prepare", folder, "--labels", labels, "--size", 16, "--out", store]
    named = f"{number:,} images"
    _measure(bench, f"{named}: prepared and audited", prepared, 900)
    batch = ["--batch_size", 256, "--epochs", 1, "--backbone", "test_resnet"]
    out = bench.folder / "run"
    words = ["pretrain", store, "--recipe", "fair/moco", *batch, "--views.size", 16, "--out", out]
    _measure(bench, f"{named}: an epoch", words, 1800)


def reports(bench: Bench, material: Material) -> None:
    """A report over 500 runs in a minute."""
    number = bench.tries(500)
    folder = bench.folder / "runs"
    for place in range(number):
        run_ = folder / f"{place:03d}"
        shutil.copytree(material.tuned, run_, ignore=shutil.ignore_patterns("exported"))
        result = json.loads((run_ / "result.json").read_text())
        result |= {"seed": place // 5, "arm": f"arm {place % 5}"}
        (run_ / "result.json").write_text(json.dumps(result))
    words = ["report", folder, "--to", bench.folder / "page.html"]
    _measure(bench, f"a report over {number} runs in 60 s", words, 60)


def plans(bench: Bench, material: Material) -> None:
    """A study of 5,000 cells is planned in a minute."""
    study = bench.folder / "study.yaml"
    study.write_text(
        f"seeds: {bench.tries(42)}\nbackbone: test_resnet\nfractions: [0.25, 0.5, 1.0]\n"
        f"data:\n  tiny: {{store: {material.store}, task: finding}}\n"
        "arms:\n  scratch: {encoder: scratch}\n  moco: {recipe: fair/moco}\n"
        "protocols:\n  full: {draws: 10}\n  frozen: {draws: 10}\n"
    )
    words = ["study", study, "--out", bench.folder / "study", "--dry-run"]
    _measure(bench, "a study's cells planned in 60 s", words, 60)


def _measure(bench: Bench, test: str, words: Sequence[object], seconds: float) -> None:
    log = bench.folder / "log"
    before = _spent()
    ended = run(words, log)
    spent = _spent() - before
    bench.check(test, ended.status == 0 and spent <= seconds, (round(spent, 1), ended))
    bench.rows[test].notes.append(f"{spent:.1f} s of processor time")


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
