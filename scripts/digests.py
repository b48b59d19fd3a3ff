"""Digests of what the commands compute, to show that a change of the code changes none of it.

python scripts/digests.py --out before.json         before the change, on the same machine
python scripts/digests.py --compare before.json     after it: a line for each entry that differs

The commands run as a user runs them, on small made-up images. Times, versions and paths are left
out. So are figures (their numbers stand in the tables) and model cards. Numbers differ in their
last bits between machines and versions of PyTorch: digests are no part of the repository.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import psutil
import pyarrow.parquet
import safetensors.numpy
import torch
import yaml

IMAGES, PATIENTS, SIZE = 96, 32, 32
RECIPE = "fair/moco_mse"
TRAINING = "--epochs 2 --batch_size 8 --contrastive.queue_size 32 --precision fp32"
PRETRAINING = f"{TRAINING} --backbone test_resnet --intermediate.projector_size 64"
STUDY = """
title: Digests
backbone: test_resnet
data: {grey: {store: store/grey, task: finding}}
arms: {scratch: {encoder: scratch}, moco_mse: {recipe: fair/moco_mse}}
fractions: [0.5, 1.0]
seeds: 2
pretrain: {epochs: 1, batch_size: 8, precision: fp32, contrastive: {queue_size: 32}}
protocols: {full: {settings: {precision: fp32, epochs: 2, resamples: 100}}}
probe: {fractions: [1.0], seeds: 1}
reuse: {fractions: [1.0], seeds: 1}
atlas: {}
"""
# What a command writes. "*" in an entry stands for the name of each file that fits.
STORE = {
    "header": "store.json",
    "rows": "manifest.parquet",
    "images": "images-*.npy",
    "quarantine": "quarantine.csv",
    "audit": "audit.json",
    "preview": "preview.png",
}
ENCODER = {
    "weights": "exported/backbone.safetensors",
    "checkpoint": "checkpoints/*.pt",
    "metrics": "metrics.jsonl",
    "views": "views.png",
}
RESULT = {"result": "result.json"}
SCORES = {"predictions": "predictions.parquet", "subset": "subset.csv", **RESULT}
TUNED = {**SCORES, "weights": ENCODER["weights"], "head": "exported/head.safetensors"}
ATLAS = {**RESULT, "map": "map.parquet", "neighbours": "neighbours.png"}
WEIGHTS, GRAPH = {"weights": "model.safetensors"}, {"outputs": "model.*"}
EXPORTS = {
    **dict.fromkeys(("timm", "torchvision", "huggingface", "monai"), WEIGHTS),
    **dict.fromkeys(("onnx", "torch-export"), GRAPH),
}
EMBEDDED = {"features.parquet": "store/grey --stage all", "features.npz": "data/grey"}
TABLES = {"tables/*": "report-files/tables/*.csv", "page": "report.html"}
# Keys in JSON and stems of files that tell of the machine, the time or the form of a file.
UNSTABLE = {"time", "seconds", "device", "plan", "format", "environment"}
FAILED, MISSING = "failed", "missing"
HIDDEN = r"(?s)<(script|style)\b.*?</\1>"
UNSTABLE_TEXT = (
    r"\d{4}-\d\d-\d\d(T[\d:+.]+)?"  # dates
    r"|\d+\.\d+\.\d+[\w.+-]*"  # versions
    r"|\bgit\s+[0-9a-f]{12}(-dirty)?"  # commits
    r"|[\d.,]+ (ms|s|seconds?|min|minutes?|h|hours?)\b"
)


@dataclasses.dataclass(frozen=True)
class Step:
    """One command, what must run before it, and the files it writes below the folder `name`."""

    name: str
    command: str
    holds: dict[str, str]
    needs: tuple[str, ...] = ()
    cut: bool = False


def steps(recipes: list[str]) -> Iterator[Step]:
    """Every command of the comparison, each after those it needs."""
    for name, options in {"grey": "", "colour": "--fit crop", "deep": "--bits 16"}.items():
        labels = f"--labels data/labels.csv --split 0.5/0.25/0.25 --size {SIZE} {options}"
        yield Step(f"store/{name}", f"prepare data/{name} {labels} --out store/{name}", STORE)

    def pretrain(name: str, recipe: str, options: str, store: str = "grey", **more: Any) -> Step:
        command = f"pretrain store/{store} --recipe {recipe} {options} --out {name}"
        return Step(name, command, ENCODER, (f"store/{store}",), **more)

    for recipe in recipes:
        printed = f"pretrain x --out y --recipe {recipe} --print_config"
        yield Step(f"recipes/{recipe}", printed, {"values": "stdout.log"})
        # The paper's grids need maps of 16 x 16; its 512 pixels would take minutes.
        views = "--views.size 128" if recipe.startswith("paper/") else ""
        yield pretrain(f"pretrain/{recipe}", recipe, f"{PRETRAINING} {views}")
    mse, resnet18 = f"pretrain/{RECIPE}", "pretrain/resnet18"
    yield pretrain("pretrain/colour", RECIPE, PRETRAINING, store="colour")
    yield pretrain(resnet18, RECIPE, f"{TRAINING} --backbone resnet18")
    yield pretrain(f"resume/{RECIPE}", RECIPE, PRETRAINING, cut=True)

    def use(name: str, command: str, holds: dict[str, str], need: str = mse, out: str = "") -> Step:
        return Step(name, f"{command} --out {name}{out}", holds, (need,))

    tune = f"finetune {mse} store/grey --precision fp32 --epochs 2 --min_steps 4 --resamples 100"
    runs = (
        use("finetune/full", f"{tune} --task finding", TUNED),
        use("finetune/grade", f"{tune} --task grade --fraction 0.5", TUNED),
        use("finetune/frozen", f"{tune} --task finding --protocol frozen", SCORES),
        use("probe/mse", f"probe {mse} store/grey --task finding --resamples 100", SCORES),
        use("atlas/mse", f"atlas {mse} store/grey --task finding", ATLAS),
        use("reuse/full", "reuse finetune/full store/grey", RESULT, "finetune/full"),
    )
    yield from runs
    for file, source in EMBEDDED.items():
        name = f"embed/{Path(file).suffix[1:]}"
        yield use(name, f"embed {mse} {source}", {"features": file}, out=f"/{file}")
    holds = {"probabilities": "predictions.csv"}
    command = "predict finetune/full data/grey"
    yield use("predict/full", command, holds, "finetune/full", "/predictions.csv")
    for target, holds in EXPORTS.items():
        yield use(f"export/{target}", f"export {resnet18} --to {target}", holds, resnet18)
    yield use("study/two_arms", "study study.yaml", TABLES, "store/grey")
    needs = (mse, "pretrain/colour", *(run.name for run in runs))
    yield Step("report/all", f"report {' '.join(needs)} --to report/all/report.html", TABLES, needs)


def make_images(folder: Path) -> None:
    """Grey, colour and 16-bit images whose stripes tell the finding, weakly; some not square."""
    generator = np.random.default_rng(0)
    rows = []
    for kind in ("grey", "colour", "deep"):
        (folder / kind).mkdir(parents=True)
    for number in range(IMAGES):
        patient, name = number % PATIENTS, f"{number:03d}.png"
        finding, width = patient % 2, SIZE + 8 * (number % 5 == 0)
        stripes = np.outer(np.ones(SIZE), 30 * np.sin(np.arange(width) * (0.5 + 0.02 * patient)))
        stripes = stripes if finding else np.repeat(stripes[0, :SIZE, None], width, axis=1)
        colour = 128 + stripes[..., None] + generator.normal(0, 40, (SIZE, width, 3))
        pixels = np.clip(colour, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / "colour" / name), pixels)
        cv2.imwrite(str(folder / "grey" / name), pixels[..., 0])
        deep = np.clip(colour[..., 1] * 16, 0, 4095).astype(np.uint16)
        cv2.imwrite(str(folder / "deep" / name), deep)
        finding = finding if generator.random() > 0.1 else 1 - finding
        rows.append({"file": name, "patient_id": f"p{patient}", "finding": finding})
        rows[-1]["grade"] = patient % 3
    (folder / "grey" / "broken.png").write_bytes(b"no image")
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)


def sha(*parts: bytes | str) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part.encode() if isinstance(part, str) else part)
        whole.update(b"\0")
    return whole.hexdigest()


def array(values: Any) -> str:
    values = np.asarray(values)
    return sha(str(values.dtype), str(values.shape), values.tobytes())


def arrays(named: Any) -> str:
    return sha(*(f"{name} {array(named[name])}" for name in sorted(named) if name != "metadata"))


def stable(value: Any) -> Any:
    """The value without what differs from run to run, at any depth."""
    if isinstance(value, dict):
        return {key: stable(inner) for key, inner in value.items() if key not in UNSTABLE}
    return [stable(inner) for inner in value] if isinstance(value, list) else value


def text(value: Any) -> str:
    return sha(json.dumps(stable(value), sort_keys=True))


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def table(path: Path) -> str:
    if path.suffix == ".parquet":
        columns = pyarrow.parquet.read_table(path).to_pydict()
    else:
        columns = pd.read_csv(path, dtype=str, keep_default_na=False).to_dict("list")
    return text({name: column for name, column in columns.items() if not name.startswith("Time")})


def checkpoint(path: Path) -> str:
    """Tensors whatever their names, which are those of classes."""
    tensors = leaves(torch.load(path, weights_only=True))
    return sha(*sorted(array(tensor) for tensor in tensors if isinstance(tensor, torch.Tensor)))


class Words(HTMLParser):
    """What a page says, piece by piece."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_data(self, data: str) -> None:
        """Keep words, one space apart."""
        self.found.append(" ".join(data.split()))


def page(path: Path) -> str:
    words = Words()
    words.feed(re.sub(HIDDEN, "<br>", path.read_text()))
    return sha(re.sub(UNSTABLE_TEXT, "", " ".join(words.found)))


def outputs(path: Path) -> str:
    """What an exported network gives for one input: the file itself records more than that."""
    images = np.random.default_rng(0).random((2, 1, SIZE, SIZE), np.float32)
    if path.suffix == ".pt2":
        with torch.no_grad():
            given = torch.export.load(path).module()(torch.from_numpy(images))
        return sha(*map(array, given.values() if isinstance(given, dict) else given))
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options)
    return sha(*map(array, session.run(None, {session.get_inputs()[0].name: images})))


READERS: dict[str, Callable[[Path], str]] = {
    ".csv": table,
    ".parquet": table,
    ".html": page,
    ".jsonl": lambda path: sha(*(text(json.loads(line)) for line in path.open())),
    ".log": lambda path: sha(*sorted(map(str, leaves(yaml.safe_load(path.read_text()))))),
    ".npy": lambda path: array(np.load(path)),
    ".npz": lambda path: arrays(np.load(path)),
    ".onnx": outputs,
    ".png": lambda path: array(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)),
    ".pt": checkpoint,
    ".pt2": outputs,
    ".safetensors": lambda path: arrays(safetensors.numpy.load_file(path)),
}


def digests(step: Step, root: Path) -> dict[str, str]:
    """The entries of a step that ran; of a JSON file one for each part, and one for its rest."""
    found = {}
    for entry, pattern in step.holds.items():
        entry = f"{step.name}/{entry}"
        paths = sorted((root / step.name).glob(pattern))
        if not paths:
            found[entry] = MISSING
        elif paths[0].suffix == ".json":
            parts = stable(json.loads(paths[0].read_text()))
            nested = [name for name in parts if isinstance(parts[name], dict | list)]
            found |= {f"{entry}/{name}": text(parts.pop(name)) for name in nested}
            found[f"{entry}/rest"] = text(parts)
        else:
            paths = [path for path in paths if path.stem not in UNSTABLE]
            paths = paths if "*" in entry else paths[-1:]
            found |= {entry.replace("*", p.stem): READERS[p.suffix](p) for p in paths}
    return found


def run(step: Step, root: Path) -> None:
    """Run the command in `root`; one that is to be cut is killed after its first epoch, resumed."""
    command = [sys.executable, "-m", "medstrata", *shlex.split(step.command)]
    folder = root / step.name
    folder.parent.mkdir(parents=True, exist_ok=True)
    key = root / "patient.key"  # the same for all time, as hashes of patients are in digests
    key.write_bytes(bytes(32))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    environment["MEDSTRATA_PATIENT_KEY"] = str(key)
    start: dict[str, Any] = {"cwd": root, "env": environment, "text": True}
    start |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if step.cut:
        metrics = folder / ENCODER["metrics"]
        running = subprocess.Popen(command, **start)
        while running.poll() is None and not (metrics.exists() and metrics.stat().st_size):
            time.sleep(0.005)
        running.kill()
        running.communicate()
        if running.returncode != -signal.SIGKILL:
            raise RuntimeError("ended before it could be cut")
        command.append("--resume")
    done = subprocess.run(command, check=False, **start)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])}\n{done.stderr}")
    folder.mkdir(exist_ok=True)
    (folder / "stdout.log").write_text(done.stdout)


def compute(groups: set[str], root: Path, jobs: int) -> dict[str, str]:
    """Run the steps of these groups (none: all) and those they need; the digests of the groups."""
    make_images(root / "data")
    (root / "study.yaml").write_text(STUDY)
    run(Step("recipes", "recipes", {}), root)
    recipes = [
        line.split()[0] for line in (root / "recipes" / "stdout.log").read_text().splitlines()
    ]
    every = list(steps(recipes))
    needed: set[str] = set()
    for step in reversed(every):
        if step.name in needed or in_groups(step.name, groups):
            needed |= {step.name, *step.needs}
    futures: dict[str, concurrent.futures.Future[dict[str, str]]] = {}

    def perform(step: Step) -> dict[str, str]:
        concurrent.futures.wait([futures[name] for name in step.needs])
        run(step, root)
        return digests(step, root)

    # Steps start in order, so what a step waits for has started.
    with stoppable(concurrent.futures.ThreadPoolExecutor(jobs)) as pool:
        for step in every:
            if step.name in needed:
                futures[step.name] = pool.submit(perform, step)
        concurrent.futures.wait(futures.values())
    found: dict[str, str] = {}
    for name, future in futures.items():
        if error := future.exception():
            print(f"{name}: {error}", file=sys.stderr)
        if in_groups(name, groups):
            found |= {name: FAILED} if error else future.result()
    return found


@contextlib.contextmanager
def stoppable(
    pool: concurrent.futures.ThreadPoolExecutor,
) -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """The pool, whose commands end with it where Ctrl-C or SIGTERM ends the block."""
    with pool:
        try:
            yield pool
        except (KeyboardInterrupt, SystemExit):
            pool.shutdown(wait=False, cancel_futures=True)
            for child in psutil.Process().children():
                child.kill()
            raise


def in_groups(entry: str, groups: set[str]) -> bool:
    return not groups or entry.split("/")[0] in groups


def faults(found: dict[str, str], before: dict[str, str]) -> Iterator[str]:
    """A line for each entry that could not be had, that is not as before or, resumed, as uncut."""
    for entry, digest in found.items():
        if digest in (FAILED, MISSING):
            yield f"{digest}  {entry}"
        uncut = found.get(entry.replace("resume/", "pretrain/"), digest)
        if uncut != digest:
            yield f"unlike the uncut run  {entry}"
    for entry in sorted({*before, *found}):
        if entry not in found:
            yield f"gone  {entry}"
        elif entry not in before:
            yield f"new  {entry}"
        elif before[entry] != found[entry]:
            yield f"differs  {entry}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the digests here, as JSON")
    parser.add_argument("--compare", type=Path, help="digests of earlier; exit 1 if any differs")
    parser.add_argument("--only", default="", help="groups, such as store,pretrain; default all")
    parser.add_argument("--jobs", type=int, default=1, help="commands at a time")
    parser.add_argument("--keep", type=Path, help="new folder that keeps all files, to look into")
    options = parser.parse_args()
    groups = set(filter(None, options.only.split(",")))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as folder:
        found = compute(groups, (options.keep or Path(folder)).absolute(), options.jobs)
    before = json.loads(options.compare.read_text()) if options.compare else found
    lines = list(faults(found, {e: digest for e, digest in before.items() if in_groups(e, groups)}))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1))
    print(*lines, f"{len(found)} entries, {len(lines)} to look at", sep="\n")
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
