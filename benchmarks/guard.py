"""A guard against becoming slow: ratios to plain peers, held to half of what was recorded.

    python benchmarks/guard.py [--record]

Run by `make test`, in under a minute. Peers and ours take turns in this process, in one thread;
each ratio is the median over turns, in processor time. It fails (exit 1) only where a ratio is
below half of the recorded one of the same kind of machine (vector instructions, bf16) in
results/guard.json, twice; on another kind it prints and passes. `--record` writes the ratios.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import peers
import step
from harness import (
    cpu_precision,
    environment,
    interleave,
    read_results,
    single_thread,
    write_result,
)
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.data.synthetic.chest import make_images
from medstrata.data.view_settings import moco_v2
from medstrata.data.views import make_views
from medstrata.metrics.cka import linear_heatmap
from medstrata.metrics.intervals import resampled_scores
from medstrata.metrics.knn import knn_probabilities
from medstrata.metrics.resampling import resample_patients
from medstrata.runtime.signals import exit_on_sigterm

TURNS = 5
ALLOWED = 0.5  # of the recorded ratio; a busy machine moves a ratio by far less
RESAMPLES = 20
CASE = peers.Case("resnet18", 64, 32, 4096)
Task = Callable[[], object]
Features = NDArray[np.float32]


def torchvision_views(files: list[Path]) -> Task:
    """From the files, as its data sets read them; one channel, as our store holds them."""
    from torchvision.transforms import v2

    transform = peers.torchvision_transform(v2, 224, grey=True, kernel=23)

    def views() -> None:
        for file in files:
            with Image.open(file) as image:
                decoded = image.convert("L")
            transform(decoded), transform(decoded)

    return views


def our_views(store: Store, count: int) -> Task:
    rows, settings, epochs = np.arange(count), moco_v2(224), iter(range(10**9))
    return lambda: make_views(store, rows, settings, seed=0, epoch=next(epochs))


def predictions() -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    generator = np.random.default_rng(0)
    target = generator.integers(0, 2, 5000)
    probability = np.clip(0.2 * target + generator.random(5000) * 0.8, 0, 1)
    return target, probability[:, None], np.arange(5000) // 5


def sklearn_bootstrap() -> None:
    from sklearn.metrics import roc_auc_score

    target, probability, patients = predictions()
    members = [np.flatnonzero(patients == one) for one in range(patients[-1] + 1)]
    generator = np.random.default_rng(1)
    for _ in range(RESAMPLES):
        drawn = np.concatenate([members[i] for i in generator.integers(0, 1000, 1000)])
        roc_auc_score(target[drawn], probability[drawn, 0])


def our_bootstrap() -> None:
    target, probability, patients = predictions()
    names = patients.astype(str)
    resamples = resample_patients(names, len(target), resamples=RESAMPLES)
    resampled_scores("macro_auroc", target, probability, "binary", resamples)


def features(samples: int, size: int, seed: int) -> Features:
    return np.random.default_rng(seed).normal(size=(samples, size)).astype(np.float32)


def naive_cka(first: Features, second: Features) -> float:
    """Whole float64 kernels, centred by products with the centring matrix."""
    centring = np.eye(len(first)) - 1 / len(first)
    wide = [one.astype(np.float64) for one in (first, second)]
    kernels = [centring @ (one @ one.T) @ centring for one in wide]
    cross, own, other = ((kernels[i] * kernels[j]).sum() for i, j in ((0, 1), (0, 0), (1, 1)))
    return float(cross / np.sqrt(own * other))


def naive_neighbours(bank: Features, labels: NDArray[np.int64], queries: Features) -> None:
    """The distance to every image of the bank, sorted in full."""
    for one in queries:
        cosine = bank @ one / (np.linalg.norm(bank, axis=1) * np.linalg.norm(one))
        nearest = np.argsort(-cosine)[:20]
        np.bincount(labels[nearest], np.exp(cosine[nearest] / 0.07), 2)


def pairs(folder: Path) -> dict[str, tuple[Task, Task]]:
    """Peer and ours, by name."""
    small = make_images(folder / "small", images=64, size=64).parent / "images"
    large = make_images(folder / "large", images=16, size=512).parent / "images"
    small_store = prepare(small, folder / "small.store", PrepareSettings(size=64), workers=1)
    large_store = prepare(large, folder / "large.store", PrepareSettings(size=256), workers=1)
    first, second = features(1000, 128, 0), features(1000, 128, 1)
    bank, queries = features(2000, 128, 0), features(200, 128, 1)
    labels = np.random.default_rng(2).integers(0, 2, len(bank))
    return {
        "MoCo step, against plain PyTorch": (
            peers.step("plain PyTorch", CASE, peers.AS_IT_SHIPS),
            step.our_step(CASE, small_store.path, "fair/moco", like_peer=True),
        ),
        "two views, against torchvision and Pillow": (
            torchvision_views(sorted(large.rglob("*.png"))),
            our_views(large_store, 16),
        ),
        "bootstrap, against scikit-learn": (sklearn_bootstrap, our_bootstrap),
        "linear CKA, against H K H": (
            lambda: naive_cka(first, second),
            lambda: linear_heatmap([first], [second], debiased=False)[0][0],
        ),
        "k-NN, against full sorting": (
            lambda: naive_neighbours(bank, labels, queries),
            lambda: knn_probabilities(bank, labels, queries, "binary", 2),
        ),
    }


def measure() -> dict[str, float]:
    """time(peer) / time(ours), the median over turns."""
    ratios = {}
    with exit_on_sigterm(), tempfile.TemporaryDirectory() as folder:
        for name, (peer, ours) in pairs(Path(folder)).items():
            seconds = interleave({"peer": peer, "ours": ours}, TURNS, clock=time.process_time)
            turns = zip(seconds["peer"], seconds["ours"], strict=True)
            ratios[name] = statistics.median(one / other for one, other in turns)
    return ratios


def kind_of_machine() -> str:
    bf16 = "bf16" if cpu_precision() == "bf16" else "no bf16"
    return f"{torch.backends.cpu.get_cpu_capability()}, {bf16}"


def fallen(measured: Mapping[str, float], recorded: Mapping[str, float]) -> list[str]:
    """What is below the allowed part of what was recorded, in words."""
    return [
        f"{name}: {measured[name]:.2f} times as fast, recorded {ratio:.2f}"
        for name, ratio in recorded.items()
        if measured[name] < ALLOWED * ratio
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", action="store_true", help="write the ratios of this machine")
    arguments = parser.parse_args()
    single_thread()
    kind, measured = kind_of_machine(), measure()
    known: dict[str, dict[str, float]] = next(
        (kept["ratios"] for kept in read_results("guard")), {}
    )
    if arguments.record:
        known = known | {kind: measured}
        print(write_result("guard", {"environment": environment(), "ratios": known}))
    recorded = known.get(kind, {})
    if fallen(measured, recorded):
        # A host that was busy for a moment is not now; code that has become slow still is.
        again = measure()
        measured = {name: max(ratio, again[name]) for name, ratio in measured.items()}
    print(f"times as fast as the peer ({kind})")
    for name, ratio in measured.items():
        before = f"recorded {recorded[name]:.2f}" if name in recorded else "not recorded"
        print(f"  {name:<44}{ratio:8.2f}   {before}")
    if not recorded:
        print("no ratios are recorded for this kind of machine; nothing is held to them")
    if slow := fallen(measured, recorded):
        sys.exit("guard: slower than half of what was recorded: " + "; ".join(slow))


if __name__ == "__main__":
    main()
