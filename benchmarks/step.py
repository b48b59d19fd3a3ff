"""Training step against lightly's MoCo blocks, put together as lightly's own example shows.

    python benchmarks/step.py [--case resnet50-224-32] [--repeats 5] [--quick]

Everything runs in turns in one process on the same batch. Two columns: each program as it ships
(lightly: float32, contiguous memory; ours: recipe `fair/moco` in the precision the hardware has,
channels-last memory, shuffled key sub-batches), and like for like (the same precision and memory
format for both, no sub-batches). Then what the intermediate losses add to plain MoCo. Views are
made before the clock starts. `--memory` gives the peak memory of each, in a process of its own.
"""

import argparse
import copy
import multiprocessing
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import timm
import torch
from accelerate import Accelerator
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum

from harness import interleave, spread, write_result
from medstrata.assembly import build
from medstrata.data.prepare import prepare
from medstrata.data.store import Store
from medstrata.data.synthetic import make_images
from medstrata.devices import has_native_bf16, mixed_precision
from medstrata.pretraining import training_step
from medstrata.recipes import recipe

CASES = {  # name -> backbone, pixels, batch, queue
    "resnet50-224-32": ("resnet50", 224, 32, 65_536),
    "resnet18-64-128": ("resnet18", 64, 128, 65_536),
    "resnet18-64-128-queue4096": ("resnet18", 64, 128, 4096),
}
Step = Callable[[], object]


class Peer(torch.nn.Module):
    """MoCo v2 from lightly's blocks."""

    def __init__(self, backbone: str, queue: int) -> None:
        super().__init__()
        self.backbone = timm.create_model(backbone, num_classes=0, in_chans=3)
        width = self.backbone.num_features
        self.head = MoCoProjectionHead(width, width, 128)
        self.backbone_momentum = copy.deepcopy(self.backbone)
        self.head_momentum = copy.deepcopy(self.head)
        deactivate_requires_grad(self.backbone_momentum)
        deactivate_requires_grad(self.head_momentum)
        self.criterion = NTXentLoss(temperature=0.2, memory_bank_size=(queue, 128))

    def loss(self, query_view: torch.Tensor, key_view: torch.Tensor) -> torch.Tensor:
        """One direction, as in lightly's example."""
        query = self.head(self.backbone(query_view))
        with torch.no_grad():
            key = self.head_momentum(self.backbone_momentum(key_view))
        return self.criterion(query, key)


def peer_step(case: str, *, like_ours: bool) -> Step:
    backbone, size, batch, queue = CASES[case]
    peer = Peer(backbone, queue)
    views = [torch.rand(batch, 3, size, size) for _ in range(2)]
    if like_ours:
        peer = peer.to(memory_format=torch.channels_last)
        views = [view.to(memory_format=torch.channels_last) for view in views]
    optimizer = torch.optim.SGD(
        [weight for weight in peer.parameters() if weight.requires_grad],
        lr=0.03,
        momentum=0.9,
        weight_decay=1e-4,
    )

    def step() -> None:
        update_momentum(peer.backbone, peer.backbone_momentum, m=0.999)
        update_momentum(peer.head, peer.head_momentum, m=0.999)
        with torch.autocast("cpu", torch.bfloat16, enabled=like_ours and has_native_bf16()):
            loss = peer.loss(*views)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def our_step(case: str, store: Store, name: str, *, like_peer: bool = False) -> Step:
    backbone, size, batch, queue = CASES[case]
    contrastive = {"queue_size": queue, "cap_queue": False}
    if like_peer:
        contrastive |= {"key_sub_batches": 1, "mask_own_keys": False}
    settings = recipe(
        name,
        backbone=backbone,
        batch_size=batch,
        in_channels=3,
        contrastive=contrastive,
        views={"size": size},
    )
    accelerator = Accelerator(cpu=True, mixed_precision=mixed_precision("auto"))
    training = build(accelerator, settings, store, Path(tempfile.mkdtemp()))
    batch_of_views = next(training.loader.epoch(0))
    training.wrapped.train()
    return lambda: training_step(training, batch_of_views)


def variants(case: str, store: Store) -> dict[str, Callable[[], Step]]:
    return {
        "lightly, as it ships": lambda: peer_step(case, like_ours=False),
        "lightly, like for like": lambda: peer_step(case, like_ours=True),
        "ours, as it ships": lambda: our_step(case, store, "fair/moco"),
        "ours, like for like": lambda: our_step(case, store, "fair/moco", like_peer=True),
        "ours + MSE": lambda: our_step(case, store, "fair/moco_mse"),
        "ours + centred cosine": lambda: our_step(case, store, "fair/moco_cosine"),
        "ours + Barlow Twins": lambda: our_step(case, store, "fair/moco_bt"),
    }


def peak_memory(case: str, store: Path, name: str) -> float:
    """GiB at the most while one variant trains three steps in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak_here, (case, store, name))


def _peak_here(case: str, store: Path, name: str) -> float:
    from medstrata.data.store import open_store

    step = variants(case, open_store(store))[name]()
    step()  # the first step already holds activations, gradients and the optimizer's state
    # Not getrusage: its maximum begins with that of the process that started this one.
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**20


def run_case(case: str, store: Store, repeats: int, *, losses: bool) -> dict[str, object]:
    steps = {
        name: make() for name, make in variants(case, store).items() if losses or "+" not in name
    }
    seconds = interleave(steps, repeats)
    middle = {name: median(values) for name, values in seconds.items()}
    plain = middle["ours, as it ships"]
    ratios = {
        "as it ships": middle["lightly, as it ships"] / plain,
        "like for like": middle["lightly, like for like"] / middle["ours, like for like"],
    } | {
        f"cost of {name.removeprefix('ours + ')}": value / plain - 1
        for name, value in middle.items()
        if "+" in name
    }
    print(f"\n{case}")
    for name, value in middle.items():
        print(f"  {name:<26} {value:8.3f} s a step")
    for name, value in ratios.items():
        print(f"  {name:<26} {value:8.1%}" if "cost" in name else f"  {name:<26} {value:8.2f} x")
    return {
        "ratios": ratios,
        "seconds": {name: spread(values) for name, values in seconds.items()},
    }


def run_memory(case: str, store: Store) -> dict[str, float]:
    peaks = {name: peak_memory(case, store.path, name) for name in variants(case, store)}
    print(f"\n{case}")
    for name, value in peaks.items():
        print(f"  {name:<26} {value:8.2f} GiB")
    return peaks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="smallest case, no file")
    parser.add_argument("--memory", action="store_true", help="peak memory instead of time")
    parser.add_argument("--no-losses", action="store_true", help="plain MoCo alone")
    arguments = parser.parse_args()
    cases = ["resnet18-64-128-queue4096"] if arguments.quick else arguments.case
    precision = "bf16" if has_native_bf16() else "float32 (no native bf16 on this processor)"
    print(f"precision of ours: {precision}")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        make_images(images, images=400, size=64)
        store = prepare(images, Path(folder) / "store", size=64)
        for case in cases:
            if arguments.memory:
                kind, result = "memory", {"peak_GiB": run_memory(case, store)}
            else:
                losses = not arguments.no_losses
                kind, result = "step", run_case(case, store, arguments.repeats, losses=losses)
            if not arguments.quick:
                print(write_result(f"{kind}-{case}", {"precision": precision, **result}))


if __name__ == "__main__":
    main()
