"""Is bfloat16 as good as float32? Loss curves and scores of both, against the noise of seeds.

    python benchmarks/exactness.py IMAGES LABELS --task label [--seeds 3] [--steps 120]
                                   [--batch 128] [--out DIR]

Pre-trains a ResNet-18 at 64 px on a folder of real images (`fair/moco`) in both precisions with
several seeds, taking turns; each run ends with a k-NN score on validation and a linear probe on
test. Runs stay in DIR: started again, the program goes on where it was. A processor without
bfloat16 computes it in software, about nine times as slowly as float32.
"""

import argparse
import itertools
import json
import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import Section, Target, read_result, spread, write_result
from medstrata.assembly import build
from medstrata.console import say
from medstrata.data.prepare import prepare
from medstrata.data.store import Store
from medstrata.data.synthetic import make_images
from medstrata.devices import make_accelerator
from medstrata.finetuning import finetune
from medstrata.pretraining import pretrain, training_step
from medstrata.recipes import recipe
from medstrata.settings import FinetuneSettings, PretrainSettings

PRECISIONS = ("fp32", "bf16")
_SMOOTH = 10  # steps averaged, so that a curve's distance is not that of single batches
Curve = NDArray[np.float64]


def settings(store: Store, precision: str, seed: int, steps: int, batch: int) -> PretrainSettings:
    per_epoch = len(store.rows("train")) // batch
    return recipe(
        "fair/moco",
        backbone="resnet18",
        batch_size=batch,
        epochs=math.ceil(steps / per_epoch),
        seed=seed,
        precision=precision,
        in_channels=1 if store.channels == 1 else 3,
        views={"size": store.size},
    )


def run_once(
    store: Store, task: str, folder: Path, chosen: PretrainSettings
) -> tuple[Curve, dict[str, float]]:
    """Pre-train, probe; the loss of every step and both scores."""
    out = folder / f"{chosen.precision}-{chosen.seed}"
    run = pretrain(store, chosen, out, resume=True)
    probe = finetune(
        str(run),
        store,
        task,
        1.0,
        folder / f"{out.name}-linear",
        FinetuneSettings(protocol="frozen", precision="fp32"),
        resume=True,
    )
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["event"] == "step"]
    tested = json.loads((probe / "result.json").read_text())
    last = json.loads((run / "result.json").read_text())["final"]
    scores = {
        "k-NN": last["knn"]["value"],
        "linear": tested["test"]["scores"][tested["metric"]]["value"],
        "loss of the last 10 steps": float(np.mean(losses[-_SMOOTH:])),
    }
    return np.array(losses), scores


def first_update(store: Store, folder: Path, chosen: PretrainSettings) -> torch.Tensor:
    """What the first step adds to the query encoder, (parameters,)."""
    training = build(make_accelerator(chosen.precision), chosen, store, folder)
    batches = training.loader.epoch(0)
    before = _weights(training.model.query_encoder)
    training.wrapped.train()
    training_step(training, next(batches))
    batches.close()
    return _weights(training.model.query_encoder) - before


def _weights(encoder: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in encoder.parameters()])


def distance(first: Curve, second: Curve) -> float:
    """Mean absolute difference of two loss curves, each a mean over 10 steps, nats."""
    window = np.full(_SMOOTH, 1 / _SMOOTH)
    smooth = (np.convolve(curve, window, "valid") for curve in (first, second))
    return float(np.abs(np.subtract(*smooth)).mean())


def compare(
    curves: Mapping[str, Mapping[int, Curve]], scores: Mapping[str, Mapping[int, Mapping[str, Any]]]
) -> dict[str, Any]:
    """Distances of pairs: the same seed in both precisions, two seeds in one precision."""
    seeds = sorted(curves["fp32"].keys() & curves["bf16"].keys())
    pairs = {"bf16 - fp32, same seed": [(("bf16", s), ("fp32", s)) for s in seeds]}
    for precision in PRECISIONS:
        both = itertools.combinations(seeds, 2)
        pairs[f"two seeds, {precision}"] = [((precision, a), (precision, b)) for a, b in both]
    result = {}
    for name, couples in pairs.items():
        differences = {
            score: [scores[p][s][score] - scores[q][r][score] for (p, s), (q, r) in couples]
            for score in scores["fp32"][seeds[0]]
        }
        apart = [distance(curves[p][s], curves[q][r]) for (p, s), (q, r) in couples]
        result[name] = {"loss curves": apart, **differences}
    return result


def measure(
    images: Path, labels: Path, task: str, folder: Path, *, seeds: int, steps: int, batch: int
) -> dict[str, Any]:
    store = prepare(images, folder / "store", labels=labels, size=64)
    curves: dict[str, dict[int, Curve]] = {precision: {} for precision in PRECISIONS}
    scores: dict[str, dict[int, Any]] = {precision: {} for precision in PRECISIONS}
    cosines = []
    for seed in range(seeds):
        chosen = {p: settings(store, p, seed, steps, batch) for p in PRECISIONS}
        moves = [first_update(store, folder, one) for one in chosen.values()]
        cosines.append(float(torch.cosine_similarity(*moves, dim=0)))
        for precision, one in chosen.items():
            curves[precision][seed], scores[precision][seed] = run_once(store, task, folder, one)
            say(f"{precision}, seed {seed}: {scores[precision][seed]}")
    return {
        "images": images.parent.name,
        "task": task,
        "steps": len(curves["fp32"][0]),
        "batch": batch,
        "seeds": seeds,
        "cosine of the first update": cosines,
        "scores": scores,
        "curves": {p: {seed: list(c) for seed, c in one.items()} for p, one in curves.items()},
        "pairs": compare(curves, scores),
    }


def _size(values: Sequence[float]) -> str:
    """Mean absolute value and the largest."""
    sizes = np.abs(values)
    return f"{sizes.mean():.4f} (at most {sizes.max():.4f})"


def table(result: Mapping[str, Any]) -> str:
    pairs = result["pairs"]
    columns = list(next(iter(pairs.values())))
    head = f"| mean absolute difference of a pair | {' | '.join(columns)} |"
    rows = [
        f"| {name} | {' | '.join(_size(values[column]) for column in columns)} |"
        for name, values in pairs.items()
    ]
    return "\n".join([head, "|---" * (len(columns) + 1) + "|", *rows])


def section() -> Section:
    """bfloat16 beside float32."""
    result = read_result("exactness")
    cosine = spread(result["cosine of the first update"])["lowest"]
    software = " The processor has no bfloat16: PyTorch's own kernels computed it, rounding alike."
    native = result["environment"]["native_bf16"]
    text = (
        f"`python benchmarks/exactness.py IMAGES LABELS --task {result['task']} --steps "
        f"{result['steps']} --batch {result['batch']}`, on {result['images']}: a ResNet-18 at 64 "
        f"px, `fair/moco`, {result['seeds']} seeds in each precision. Loss in nats, scores "
        "as AUROC where two classes are told apart; curves are averaged over 10 steps. Below the "
        f"first line stands what another seed alone changes.{'' if native else software}\n\n"
        f"{table(result)}\n\n"
        "The first update of the weights, from equal weights and equal images, points the same way "
        f"in both precisions: cosine {cosine:.4f} or more. Weights, optimizer, key encoder, queue "
        "and InfoNCE stay in float32 in either; bfloat16 is what convolutions and linear layers "
        "compute in."
    )
    return Section("bfloat16 against float32", text, _targets(result["pairs"]))


def _targets(pairs: Mapping[str, Mapping[str, Sequence[float]]]) -> list[Target]:
    """What precision changes, as a share of what another seed changes, in either precision."""
    (own,) = (values for name, values in pairs.items() if name.startswith("bf16 - fp32"))
    seeds = [values for name, values in pairs.items() if name.startswith("two seeds")]
    names = {"loss curves": "loss curves", "k-NN": "k-NN scores", "linear": "linear scores"}
    targets = []
    for column, words in names.items():
        noise = np.abs([value for values in seeds for value in values[column]]).mean()
        share = 100 * float(np.abs(own[column]).mean() / noise)
        what = f"{words} in bfloat16 and float32 apart, of what two seeds are apart"
        why = "more than another seed changes" if share > 100 else ""
        targets.append(Target(what, 100, share, "%", True, why))
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("labels", type=Path, nargs="?")
    parser.add_argument("--task", default="label")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, help="keeps the runs; default: a temporary folder")
    parser.add_argument("--quick", action="store_true", help="made images, two steps, no file")
    arguments = parser.parse_args()
    if not arguments.quick and not (arguments.images and arguments.labels):
        parser.error("give IMAGES and LABELS, or --quick")
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.out or Path(temporary)
        options = {"seeds": arguments.seeds, "steps": arguments.steps, "batch": arguments.batch}
        images, labels = arguments.images, arguments.labels
        if arguments.quick:
            options = {"seeds": 2, "steps": 12, "batch": 8}
            labels = make_images(Path(temporary) / "images", images=120, size=64)
            images, arguments.task = labels.parent, "finding"
        result = measure(images, labels, arguments.task, folder, **options)
    print(table(result))
    if not arguments.quick:
        print(write_result("exactness", result))


if __name__ == "__main__":
    main()
