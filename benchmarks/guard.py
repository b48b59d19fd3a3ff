"""A guard against becoming slow: ratios to plain peers, held to half of what was recorded.

    python benchmarks/guard.py [--record]

Run by `make test`, in under a minute. Peers and ours take turns in this process, in one thread;
each ratio is the median over turns, in processor time. It fails (exit 1) only where a ratio is
below half of the recorded one of the same kind of machine (vector instructions, bf16) in
results/guard.json, twice; on another kind it prints and passes. `--record` writes the ratios.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from accelerate import Accelerator
from numpy.typing import NDArray
from PIL import Image

from harness import RESULTS, cpu_precision, interleave, read_result, write_result
from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.store import Store
from medstrata.data.synthetic import make_images
from medstrata.data.view_settings import moco_v2
from medstrata.data.views import make_views
from medstrata.metrics.cka import linear_cka
from medstrata.metrics.intervals import resampled_scores
from medstrata.metrics.knn import knn_probabilities
from medstrata.pretraining.build import build
from medstrata.pretraining.loop import training_step
from medstrata.pretraining.recipes import recipe
from medstrata.runtime.devices import keep_freed_memory

TURNS = 5
ALLOWED = 0.5  # of the recorded ratio; a busy machine moves a ratio by far less
BATCH, QUEUE, DRAWS = 32, 4096, 20
Task = Callable[[], object]


def plain_step() -> Task:
    """MoCo v2 as its paper's algorithm reads: float32, contiguous memory, whole logits."""
    import timm

    encoder = timm.create_model("resnet18", num_classes=128, in_chans=3)
    key_encoder = copy.deepcopy(encoder).requires_grad_(False)
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.03, momentum=0.9)
    queue = F.normalize(torch.randn(QUEUE, 128), dim=1)
    views = torch.rand(2, BATCH, 3, 64, 64)

    def step() -> None:
        with torch.no_grad():
            for kept, new in zip(key_encoder.parameters(), encoder.parameters(), strict=True):
                kept.mul_(0.999).add_(new, alpha=0.001)
            key = F.normalize(key_encoder(views[1]), dim=1)
        query = F.normalize(encoder(views[0]), dim=1)
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ queue.T], dim=1) / 0.2
        loss = F.cross_entropy(logits, torch.zeros(BATCH, dtype=torch.int64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        queue[:BATCH] = key

    return step


def our_step(store: Store) -> Task:
    settings = recipe(
        "fair/moco",
        backbone="resnet18",
        batch_size=BATCH,
        in_channels=3,
        images="all",
        contrastive={"queue_size": QUEUE, "cap_queue": False, "key_sub_batches": 1},
        views={"size": 64},
    )
    keep_freed_memory()
    accelerator = Accelerator(cpu=True, mixed_precision=cpu_precision())
    training = build(accelerator, settings, store, Path(tempfile.gettempdir()))
    source = training.loader.epoch(0)
    batch = next(source)
    source.close()
    training.wrapped.train()
    return partial(training_step, training, batch)


def torchvision_views(files: list[Path]) -> Task:
    from torchvision.transforms import v2

    jitter = v2.ColorJitter(0.4, 0.4, 0.4, 0.1)
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(224, scale=(0.2, 1.0)),
            v2.RandomApply([jitter], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], p=0.5),
            v2.RandomHorizontalFlip(),
        ]
    )

    def views() -> None:
        for file in files:
            with Image.open(file) as image:
                decoded = image.convert("L")  # as our store holds them
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


def sklearn_bootstrap() -> Task:
    from sklearn.metrics import roc_auc_score

    target, probability, patients = predictions()
    members = [np.flatnonzero(patients == one) for one in range(patients[-1] + 1)]
    generator = np.random.default_rng(1)

    def scores() -> None:
        for _ in range(DRAWS):
            drawn = np.concatenate([members[i] for i in generator.integers(0, 1000, 1000)])
            roc_auc_score(target[drawn], probability[drawn, 0])

    return scores


def our_bootstrap() -> Task:
    target, probability, patients = predictions()
    name = "macro_auroc"
    return lambda: resampled_scores(
        name, target, probability, "binary", patients.astype(str), resamples=DRAWS
    )


def features(samples: int, size: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(samples, size)).astype(np.float32)


def naive_cka() -> Task:
    """Whole kernels, centred by products with the centring matrix."""
    first, second = (features(1000, 128, seed).astype(np.float64) for seed in (0, 1))
    centring = np.eye(1000) - 1 / 1000

    def cka() -> float:
        kernels = [centring @ (one @ one.T) @ centring for one in (first, second)]
        cross, own, other = ((kernels[i] * kernels[j]).sum() for i, j in ((0, 1), (0, 0), (1, 1)))
        return float(cross / np.sqrt(own * other))

    return cka


def naive_neighbours() -> Task:
    """The distance to every image of the bank, sorted in full."""
    bank, query = features(2000, 128, 0), features(200, 128, 1)
    labels = np.random.default_rng(2).integers(0, 2, 2000)

    def vote() -> None:
        for one in query:
            cosine = bank @ one / (np.linalg.norm(bank, axis=1) * np.linalg.norm(one))
            nearest = np.argsort(-cosine)[:20]
            np.bincount(labels[nearest], np.exp(cosine[nearest] / 0.07), 2)

    return vote


def our_neighbours() -> Task:
    bank, query = features(2000, 128, 0), features(200, 128, 1)
    labels = np.random.default_rng(2).integers(0, 2, 2000)
    return lambda: knn_probabilities(bank, labels, query, "binary", 2)


def pairs(folder: Path) -> dict[str, tuple[Task, Task]]:
    """Peer and ours, by name."""
    small = make_images(folder / "small", images=64, size=64).parent / "images"
    large = make_images(folder / "large", images=16, size=512).parent / "images"
    small_store = prepare(small, folder / "small.store", size=64, workers=1)
    large_store = prepare(large, folder / "large.store", size=256, workers=1)
    first, second = features(1000, 128, 0), features(1000, 128, 1)
    return {
        "MoCo step, against plain PyTorch": (plain_step(), our_step(small_store)),
        "two views, against torchvision and Pillow": (
            torchvision_views(sorted(large.rglob("*.png"))),
            our_views(large_store, 16),
        ),
        "bootstrap, against scikit-learn": (sklearn_bootstrap(), our_bootstrap()),
        "linear CKA, against H K H": (
            naive_cka(),
            lambda: linear_cka(first, second, debiased=False),
        ),
        "k-NN, against full sorting": (naive_neighbours(), our_neighbours()),
    }


def measure() -> dict[str, float]:
    """time(peer) / time(ours), the median over turns."""
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
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
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    kind, measured = kind_of_machine(), measure()
    known = read_result("guard")["ratios"] if (RESULTS / "guard.json").is_file() else {}
    if arguments.record:
        known = known | {kind: measured}
        print(write_result("guard", {"ratios": known}))
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
