"""The training step against lightly's blocks, plain PyTorch and stable-pretraining.

    python benchmarks/step.py [--case resnet50-224-32-65536 ...] [--set targets grid] [--again]
                              [--quick]

Each program runs in a process of its own, in turns with those it is compared with, on a batch made
before the clock starts; its time is taken where it runs, the most memory that its process ever held
is read at the end. What a case means stands in docs/performance.md. One result file a case and
precision: one that this machine has measured with the same versions is not measured again.
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import step_page
from harness import Section, cpu_precision, environment, find_result, write_result
from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.open import open_store
from medstrata.data.synthetic import make_images
from medstrata.pretraining.build import build
from medstrata.pretraining.loop import training_step
from medstrata.pretraining.recipes import recipe
from medstrata.runtime.console import say
from medstrata.runtime.devices import keep_freed_memory
from peers import AS_IT_SHIPS, LIKE_FOR_LIKE, SAME_ALLOCATOR, Case, installed, peer_step
from step_page import result_name, yardstick
from wording import hardware
from workers import Precision, Program, Step, compare, product_step, show

TARGETS = (
    Case("resnet50", 224, 32, 65_536),
    Case("resnet50", 64, 128, 65_536),
    Case("resnet18", 64, 128, 65_536),
    Case("resnet18", 28, 256, 65_536),
    Case("resnet18", 28, 256, 4_096),
)
BATCHES = {28: 256, 64: 128, 128: 64, 224: 32}  # pixels -> images a step
# ConvNeXt halves 28 px away before its last stage; 28 px are no whole number of ViT's patches.
LEFT_OUT = {("convnext_tiny", 28), ("vit_small_patch16_224", 28)}
GRID = tuple(
    Case(backbone, size, batch, 65_536)
    for backbone in ("resnet18", "resnet50", "convnext_tiny", "vit_small_patch16_224")
    for size, batch in BATCHES.items()
    if (backbone, size) not in LEFT_OUT
)
SMALLEST = Case("resnet18", 28, 16, 512)
LOSSES = {
    "MSE": "fair/moco_mse",
    "centred cosine": "fair/moco_cosine",
    "Barlow Twins": "fair/moco_bt",
}
OURS = "ours"


def our_step(
    case: Case,
    store: Path,
    name: str,
    *,
    like_peer: bool = False,
    keep_memory: bool = True,
) -> Step:
    """A training step as `medstrata pretrain` takes it, on a batch made beforehand."""
    contrastive: dict[str, Any] = {"queue_size": case.queue, "cap_queue": False}
    if like_peer:
        contrastive |= {"key_sub_batches": 1, "mask_own_keys": False}
    settings = recipe(
        name,
        backbone=case.backbone,
        batch_size=case.batch,
        in_channels=3,
        contrastive=contrastive,
        views={"size": case.size},
    )
    if keep_memory:
        keep_freed_memory()
    accelerator = Accelerator(cpu=True, mixed_precision=cpu_precision())
    training = build(accelerator, settings, open_store(store), Path(tempfile.mkdtemp()))
    batches = training.loader.epoch(0)
    batch = next(batches)
    batches.close()  # its threads would compete with the step
    training.wrapped.train()
    return lambda: training_step(training, batch)


def precision() -> Precision:
    """In which this machine's processor takes a step."""
    return "bfloat16" if cpu_precision() == "bf16" else "float32"


def like_peer(case: Case, store: Path) -> Step:
    """Ours without what the peers do not do: shuffled sub-batches, own old keys left out."""
    return our_step(case, store, "fair/moco", like_peer=True)


def given_back(case: Case, store: Path) -> Step:
    """Ours with the allocator as the system sets it."""
    return our_step(case, store, "fair/moco", keep_memory=False)


def comparisons(case: Case, store: Path, *, whole: bool) -> dict[str, dict[str, Program]]:
    """Title -> programs in turns, the first of which the others are measured against."""
    shipped = Program(our_step, (case, store, "fair/moco"))
    alike = Program(like_peer, (case, store))
    peers = installed() if whole else ["lightly"]
    chosen = {"as they ship": (shipped, AS_IT_SHIPS), "like for like": (alike, LIKE_FOR_LIKE)}
    if whole:
        chosen["same allocator too"] = (alike, SAME_ALLOCATOR)
    found = {
        title: {OURS: ours} | {name: Program(peer_step, (name, case, how)) for name in peers}
        for title, (ours, how) in chosen.items()
    }
    here = precision()
    found["as they ship"] |= {yardstick(here): Program(product_step, (here,))}
    if whole:
        found["freed memory given back"] = {
            OURS: shipped,
            "memory given back": Program(given_back, (case, store)),
        }
    return found


def added(case: Case, store: Path, repeats: int) -> dict[str, Any]:
    """What each loss adds to our step; in pairs, since four such steps may not fit into memory."""
    shipped, found = Program(our_step, (case, store, "fair/moco")), {}
    for name, arm in LOSSES.items():
        pair = {OURS: shipped, name: Program(our_step, (case, store, arm))}
        found |= compare(pair, repeats, (name,))
    return found


def measure(case: Case, store: Path, repeats: int, *, whole: bool) -> dict[str, Any]:
    """All comparisons of a case; `whole` has all peers, the losses and the allocator."""
    print(f"\n{case.words}, queue {case.queue}", flush=True)
    result: dict[str, Any] = {"case": case._asdict(), "turns": repeats}
    for title, programs in comparisons(case, store, whole=whole).items():
        result[title] = compare(programs, repeats, (OURS,) if title == "as they ship" else ())
        show(title, result[title])
    if whole:
        result["what the losses add"] = added(case, store, repeats)
        show("what the losses add", result["what the losses add"])
    return result


def is_measured(name: str, here: Mapping[str, Any], *, whole: bool) -> bool:
    """Whether a result file holds this case, from such a machine and the same versions."""
    if (result := find_result(name)) is None:
        return False
    then = result["environment"]
    alike = hardware(then) == hardware(here) and then["packages"] == here["packages"]
    return alike and (not whole or "what the losses add" in result)


def section() -> Section:
    """The training step, from the files of all cases."""
    return step_page.section(TARGETS, GRID)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = {case.name: case for case in (*TARGETS, *GRID)}
    parser.add_argument("--case", nargs="+", choices=list(known), default=[])
    parser.add_argument(
        "--set", nargs="+", choices=["targets", "grid"], default=["targets", "grid"]
    )
    parser.add_argument("--repeats", type=int, help="turns; 5 of a target, 2 of the grid")
    parser.add_argument("--again", action="store_true", help="also what has been measured here")
    parser.add_argument("--quick", action="store_true", help="a small case, no file")
    arguments = parser.parse_args()
    sets = {"targets": TARGETS, "grid": GRID}
    # A case of both sets is measured whole, once.
    cases = list(dict.fromkeys(case for name in arguments.set for case in sets[name]))
    cases = [known[name] for name in arguments.case] or cases
    torch.set_num_threads(1)
    here = environment()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        make_images(images, images=400, size=64)
        store = prepare(images, Path(folder) / "store", size=64).path
        if arguments.quick:
            measure(SMALLEST, store, 2, whole=False)
            return
        for case in cases:
            name, whole = result_name(case, precision()), case in TARGETS
            if not arguments.again and is_measured(name, here, whole=whole):
                say(f"{name}: measured with these versions, kept (--again: anew)")
                continue
            result = measure(case, store, arguments.repeats or (5 if whole else 2), whole=whole)
            say(str(write_result(name, {"precision": precision(), **result})))


if __name__ == "__main__":
    main()
