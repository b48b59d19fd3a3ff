"""Training step against lightly's MoCo blocks, put together as lightly's own example shows.

    python benchmarks/step.py [--case resnet50-224-32] [--repeats 7] [--quick]

Each program runs in a process of its own, in turns with those it is compared with, on a batch made
before the clock starts; the step's time is taken where it runs, the most memory that its process
ever held is read at the end. Four comparisons: as they ship (lightly: float32, contiguous memory;
ours: recipe `fair/moco` in the precision the hardware has, channels-last memory, shuffled key
sub-batches, freed memory kept), like for like (the same precision, memory format and allocator for
both, no sub-batches), ours with and without keeping freed memory, and what the intermediate losses
add to plain MoCo.
"""

import argparse
import copy
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch
from accelerate import Accelerator
from lightly.loss import NTXentLoss
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad, update_momentum

from harness import held_memory, in_turns, spread, write_result
from medstrata.assembly import build
from medstrata.data.prepare import prepare
from medstrata.data.store import Store, open_store
from medstrata.data.synthetic import make_images
from medstrata.devices import has_native_bf16, keep_freed_memory, mixed_precision
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
    if like_ours:
        keep_freed_memory()
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


def our_step(
    case: str, store: Store, name: str, *, like_peer: bool = False, keep_memory: bool = True
) -> Step:
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
    if keep_memory:
        keep_freed_memory()
    accelerator = Accelerator(cpu=True, mixed_precision=mixed_precision("auto"))
    training = build(accelerator, settings, store, Path(tempfile.mkdtemp()))
    batch_of_views = next(training.loader.epoch(0))
    training.wrapped.train()
    return lambda: training_step(training, batch_of_views)


PROGRAMS: dict[str, Callable[[str, Store], Step]] = {
    "lightly, as it ships": lambda case, _: peer_step(case, like_ours=False),
    "lightly, like for like": lambda case, _: peer_step(case, like_ours=True),
    "ours, as it ships": lambda case, store: our_step(case, store, "fair/moco"),
    "ours, like for like": lambda case, store: our_step(case, store, "fair/moco", like_peer=True),
    "ours, memory given back": lambda case, store: our_step(
        case, store, "fair/moco", keep_memory=False
    ),
    "ours + MSE": lambda case, store: our_step(case, store, "fair/moco_mse"),
    "ours + centred cosine": lambda case, store: our_step(case, store, "fair/moco_cosine"),
    "ours + Barlow Twins": lambda case, store: our_step(case, store, "fair/moco_bt"),
}
# In each comparison everything is measured against the first.
COMPARISONS = {
    "as they ship": ("ours, as it ships", "lightly, as it ships"),
    "like for like": ("ours, like for like", "lightly, like for like"),
    "freed memory": ("ours, as it ships", "ours, memory given back"),
    "what the losses add": (
        "ours, as it ships",
        "ours + MSE",
        "ours + centred cosine",
        "ours + Barlow Twins",
    ),
}


class Worker:
    """A program in a process of its own, which takes a step when asked.

    Args:
        name: One of PROGRAMS.
        case: One of CASES.
        store: Path of the images.
    """

    def __init__(self, name: str, case: str, store: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, name, case, store))
        self.process.start()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.pipe.send("end")
        self.process.join()

    def step(self) -> float:
        """Seconds of one step."""
        return float(self._ask("step"))

    def peak(self) -> float:
        """The most memory the process has held so far, GiB."""
        return float(self._ask("peak"))

    def _ask(self, question: str) -> float:
        self.pipe.send(question)
        return float(self.pipe.recv())


def _serve(pipe: Connection, name: str, case: str, store: Path) -> None:
    step = PROGRAMS[name](case, open_store(store))
    while (question := pipe.recv()) != "end":
        if question == "step":
            started = time.perf_counter()
            step()
            pipe.send(time.perf_counter() - started)
        else:
            pipe.send(held_memory("VmHWM"))


def compare(names: tuple[str, ...], case: str, store: Path, repeats: int) -> dict[str, Any]:
    """Time and memory of each program, and the time as a ratio to that of the first in its turn."""
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, case, store)) for name in names}
        seconds = in_turns({name: worker.step for name, worker in workers.items()}, repeats)
        peaks = {name: worker.peak() for name, worker in workers.items()}
    first = seconds[names[0]]
    return {
        name: {
            "seconds": spread(seconds[name]),
            "ratio": spread([one / ours for one, ours in zip(seconds[name], first, strict=True)]),
            "peak_GiB": peaks[name],
        }
        for name in names
    }


def show(title: str, rows: dict[str, Any]) -> None:
    print(f"  {title:<26}{'s a step':>10}{'ratio':>8}{'quartiles':>16}{'peak GiB':>10}")
    for name, row in rows.items():
        ratio = row["ratio"]
        ends = f"{ratio['lower_quartile']:.2f} - {ratio['upper_quartile']:.2f}"
        print(
            f"    {name:<24}{row['seconds']['median']:10.3f}{ratio['median']:8.2f}{ends:>16}"
            f"{row['peak_GiB']:10.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--compare", nargs="+", choices=list(COMPARISONS), default=[])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="smallest case, no file")
    arguments = parser.parse_args()
    cases = ["resnet18-64-128-queue4096"] if arguments.quick else arguments.case
    precision = "bf16" if has_native_bf16() else "float32 (no native bf16 on this processor)"
    print(f"precision of ours: {precision}")
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        make_images(images, images=400, size=64)
        store = prepare(images, Path(folder) / "store", size=64).path
        for case in cases:
            print(f"\n{case}")
            result = {}
            for title in arguments.compare or COMPARISONS:
                result[title] = compare(COMPARISONS[title], case, store, arguments.repeats)
                show(title, result[title])
            if not arguments.quick:
                name = "-".join(["step", case, *arguments.compare]).replace(" ", "-")
                print(write_result(name, {"precision": precision, **result}))


if __name__ == "__main__":
    main()
