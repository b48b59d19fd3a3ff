"""The training step against lightly's blocks, plain PyTorch and stable-pretraining.

    python benchmarks/step.py [--case resnet50-224-32-65536 ...] [--again] [--quick]
    python benchmarks/step.py --device cuda [--case resnet50-224-256-65536 ...] [--out FOLDER]

Each program runs in a process of its own, in turns with those it is compared with, on a batch made
before the clock starts; its time is taken where it runs, the most memory that its process ever held
is read at the end. What a comparison means stands in docs/results/performance.md. One result file a
case and kind of machine, written anew after each comparison; a case that this machine has measured
with the same versions is kept. On a GPU a case is meant to take five minutes; what is compiled
comes last there.
"""

import re
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import peers
from harness import (
    KEPT,
    RESULTS,
    Result,
    command_line,
    cpu_precision,
    environment,
    is_of,
    read_results,
    report,
    single_thread,
    write_result,
)
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.open import open_store
from medstrata.data.synthetic.chest import make_images
from medstrata.pretraining.build import build
from medstrata.pretraining.loop import training_step
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.sizing import resolve
from medstrata.runtime.console import say
from medstrata.runtime.memory import keep_freed_memory
from peers import AS_IT_SHIPS, LIKE_FOR_LIKE, SAME_ALLOCATOR, Case, Manner
from section import Section, Target, number, paragraphs, processor, ratio, table
from workers import Make, Step, compare, large_product, product_size

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
GPU = (
    Case("resnet50", 224, 256, 65_536),
    Case("resnet50", 224, 512, 65_536),
    Case("vit_small_patch16_224", 224, 256, 65_536),
)
CASES = tuple(dict.fromkeys((*TARGETS, *GRID, *GPU)))
SMALLEST = Case("resnet18", 28, 16, 512)
OURS, LIGHTLY, PLAIN, UNKEPT = "ours", "lightly", "plain PyTorch", "memory given back"
# Comparisons, as the result files name them.
SHIPPED, ALIKE, SAME = "as they ship", "like for like", "same allocator too"
COMPILED, GIVEN_BACK, ADDED = "compiled", "freed memory given back", "what the losses add"
LOSSES = {
    "MSE": "fair/moco_mse",
    "centred cosine": "fair/moco_cosine",
    "Barlow Twins": "fair/moco_bt",
}
# Aims of cases against lightly as it ships, in bfloat16 on a processor.
WANTED = {TARGETS[0]: 5.0, TARGETS[1]: 3.0, TARGETS[2]: 2.2}


def our_step(
    case: Case,
    store: Path,
    arm: str,
    *,
    device: str = "cpu",
    like_peer: bool = False,
    keep_memory: bool = True,
    compiled: bool = False,
) -> Step:
    """A training step as `medstrata pretrain` takes it, on a batch made beforehand from any store.

    `like_peer` leaves out what the peers do not do: shuffled sub-batches, own old keys left out.
    """
    contrastive: dict[str, Any] = {"queue_size": case.queue, "cap_queue": False}
    if like_peer:
        contrastive |= {"key_part_size": 0, "mask_own_keys": False}
    settings = recipe(
        arm,
        backbone=case.backbone,
        batch_size=case.batch,
        in_channels=3,
        images="all",
        compile=compiled,
        contrastive=contrastive,
        views={"size": case.size},
    )
    if keep_memory:
        keep_freed_memory()
    mixed = cpu_precision() if device == "cpu" else "bf16"
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed)
    images = open_store(store)
    resolved = resolve(settings, images, len(images))
    training = build(accelerator, resolved, images, images.rows(), store.parent)
    batches = training.loader.epoch(0)
    batch = next(batches)
    batches.close()  # its threads would compete with the step
    training.wrapped.train()
    return lambda: training_step(training, batch)


def precision(device: str) -> str:
    """In which a step is taken there, as PyTorch names it."""
    return "bfloat16" if device == "cuda" or cpu_precision() == "bf16" else "float32"


def product_of(precision: str) -> str:
    """Name of the large product that a step's rate is compared with."""
    return f"large {precision} product"


def comparisons(case: Case, store: Path, device: str) -> dict[str, dict[str, Make]]:
    """Title -> programs in turns, the first of which the others are measured against."""
    ours = partial(our_step, case, store, device=device)
    shipped, alike = partial(ours, "fair/moco"), partial(ours, "fair/moco", like_peer=True)
    whole, on_gpu = case in TARGETS, device == "cuda"
    few = (LIGHTLY, PLAIN) if on_gpu else (LIGHTLY,)
    names = [name for name in peers.installed() if whole or name in few]

    def against(first: Make, manner: Manner, *, compiled: bool = False) -> dict[str, Make]:
        return {OURS: first} | {
            name: partial(peers.step, name, case, manner, device, compiled=compiled)
            for name in names
        }

    found = {SHIPPED: against(shipped, AS_IT_SHIPS), ALIKE: against(alike, LIKE_FOR_LIKE)}
    dtype = precision(device)
    found[SHIPPED][product_of(dtype)] = partial(large_product, dtype, device)
    if whole and not on_gpu:
        found[SAME] = against(alike, SAME_ALLOCATOR)
        found[GIVEN_BACK] = {OURS: shipped, UNKEPT: partial(shipped, keep_memory=False)}
    losses: dict[str, Make] = {loss: partial(ours, arm) for loss, arm in LOSSES.items()}
    if on_gpu:
        compiled = partial(alike, compiled=True)
        found[ADDED] = {OURS: shipped} | losses
        found[COMPILED] = against(compiled, LIKE_FOR_LIKE, compiled=True)
    elif whole:  # in pairs, since four such steps may not fit into memory
        found |= {loss: {OURS: shipped, loss: step} for loss, step in losses.items()}
    return found


def measure(
    case: Case, store: Path, device: str, turns: int, keep: Callable[[Result], object]
) -> Result:
    """All comparisons of a case; `keep` gets what there is after each. One that fails is named."""
    kind = {"precision": precision(device), "environment": environment(device)}
    result: Result = kind | {"case": case._asdict(), "turns": turns, "failed": []}
    for title, programs in comparisons(case, store, device).items():
        counted = {OURS} if title == SHIPPED else LOSSES.keys() & programs.keys()
        try:
            found = compare(programs, turns, counted)
        except (EOFError, OSError):  # the pipe of a process that has died, or that took too long
            result["failed"].append(title)
            say(f"{case.name}: {title} failed; going on")
        else:
            result[ADDED if title in LOSSES else title] = (
                result.get(ADDED, {}) | found if title in LOSSES else found
            )
            rates = [f"{name} {row['seconds']['median']:.3g}" for name, row in found.items()]
            say(f"{case.name}, {title}, s a step: {', '.join(rates)}")
        keep(result)
    return result


WORDS = (
    "`python benchmarks/step.py`: every program has a process of its own and one thread; they take "
    "turns after a warm-up, on a batch made beforehand. The ratio is time(peer) / time(ours), "
    "median over turns with quartiles. The peers: lightly's MoCo blocks as its documentation puts "
    "them together; algorithm 1 of the MoCo paper in plain PyTorch, as one would write it down "
    "(`benchmarks/peers.py`); stable-pretraining's MoCo v2, where it is installed. solo-learn is "
    "not among them: it requires torch 1.9.1 and does not install beside the torch that the others "
    "use. Two processes of the very same program differ by some per cent for as long as they live "
    "(where their memory lies), which the quartiles of one pair do not show: a loss seems to save "
    "time where it costs little. Differences below 5 % are none."
)
MEANING = (
    "**As they ship**: peers in float32 and contiguous memory, ours with recipe `fair/moco` "
    "(bfloat16 where the processor has it, channels-last, shuffled key sub-batches, an image's own "
    "old keys left out). **Like for like**: the same precision and memory format for the peer, and "
    "ours without sub-batches and without leaving keys out; that ours tells the allocator to keep "
    "freed memory (`keep_freed_memory`) stays an advantage of ours. **Same allocator too** gives "
    "the peer that as well: what is left is code. **Memory given back** is our step without it. "
    "**Compiled**: like for like, the encoders of both through `torch.compile`. Where lightly is "
    "the only peer, turns are fewer. ConvNeXt-Tiny at 28 px is left out because its last stage "
    "would have no pixel, ViT-S/16 because 28 px are not a whole number of patches."
)
NO_GPU = (
    "**No GPU has measured it yet**; `python benchmarks/step.py --device cuda` does, and the aims "
    "stand as they were set."
)


def section(results: list[Result]) -> Section:
    """Two tables for each kind of machine: against the peers, and what our own parts cost."""
    order = {case: place for place, case in enumerate(CASES)}
    results = sorted(results, key=lambda result: order.get(_case(result), -1))
    machines: dict[str, list[Result]] = {}
    for result in results:
        machines.setdefault(processor(result["environment"]), []).append(result)
    parts = [WORDS, MEANING]
    for machine, measured in sorted(machines.items(), reverse=True):
        parts += [f"### {machine}", _against_peers(measured), _costs(measured)]
    of = {(_case(result), _kind(result)): result for result in results}
    if not any(kind == "GPU" for _, kind in of):
        parts.append(NO_GPU)
    wanted = [*((case, "bfloat16") for case in WANTED), *of, (GPU[0], "GPU")]
    aims = [_aims(case, kind, of.get((case, kind))) for case, kind in dict.fromkeys(wanted)]
    return Section("Training step", paragraphs(*parts), [aim for some in aims for aim in some])


def _kind(result: Result) -> str:
    return "GPU" if result["environment"]["gpu"] else str(result["precision"])


def _case(result: Result) -> Case:
    return Case(**result["case"])


def _named(result: Result) -> str:
    return f"{_case(result).words}, queue {result['case']['queue']:,}"


def _against_peers(results: Sequence[Result]) -> str:
    titles = [
        title
        for title in (SHIPPED, ALIKE, SAME, COMPILED)
        if any(title in result for result in results)
    ]
    rows = []
    for result in results:
        for peer in [name for name in peers.PEERS if name in result.get(SHIPPED, ())]:
            measured = [result.get(title, {}) for title in titles]
            ratios = [ratio(one[peer]["ratio"]) if one else "-" for one in measured]
            peaks = [f"{result[SHIPPED][name]['peak_GiB']:.2f}" for name in (peer, OURS)]
            rows.append([_named(result), peer, *ratios, ", ".join(peaks)])
    head = ["network, pixels, batch", "peer", *titles, "peak GiB as they ship, peer and ours"]
    return table(head, rows, "ll" + "r" * (len(titles) + 1))


def _costs(results: Sequence[Result]) -> str:
    """What the losses and given-back memory add to our step, and the rate at which it computes."""
    rows = []
    for result in results:
        if SHIPPED not in result:
            continue
        rate, share = _rate(result)
        given_back = result.get(GIVEN_BACK)
        rows.append(
            [
                _named(result),
                *(_added(result.get(ADDED, {}).get(loss)) for loss in LOSSES),
                "-" if given_back is None else ratio(given_back[UNKEPT]["ratio"]),
                number(result["case"]["batch"] / result[SHIPPED][OURS]["seconds"]["median"]),
                number(rate),
                f"{100 * share:.0f} %",
            ]
        )
    most = product_of(results[0]["precision"])
    costs = [*(f"+ {loss}" for loss in LOSSES), "memory given back, time to ours"]
    return table(["our step", *costs, "samples/s", "GFLOP/s", f"of a {most}"], rows)


def _added(row: Result | None) -> str:
    """What a ratio adds to 1, in per cent: +6 % (+5 to +7)."""
    if row is None:
        return "-"
    ends = ("lower_quartile", "median", "upper_quartile")
    low, middle, high = (100 * (row["ratio"][end] - 1) for end in ends)
    return f"{middle:+.0f} % ({low:+.0f} to {high:+.0f})"


def _rate(result: Result, title: str = SHIPPED) -> tuple[float, float]:
    """GFLOP/s of our step as in a comparison, and its share of what a large product reached."""
    flops, product = (
        result[SHIPPED][OURS]["flops"],
        result[SHIPPED][product_of(result["precision"])],
    )
    rate = flops / result[title][OURS]["seconds"]["median"] / 1e9
    size = product_size("cuda" if _kind(result) == "GPU" else "cpu")
    return rate, rate / (2 * size**3 / product["seconds"]["median"] / 1e9)


def _aims(case: Case, kind: str, result: Result | None) -> list[Target]:
    """What was aimed at in a case and kind of machine; those of a GPU were set for one H100."""
    on = processor(result["environment"]) if result else ""
    if kind == "GPU":
        ratios, added = {ALIKE: 1.5, COMPILED: 1.5}, {"MSE": 3, "Barlow Twins": 3}
    else:
        small = case.size < 64
        ratios = {ALIKE: 1.3 if small and case.queue == 65_536 else 1.1}
        if case in WANTED and kind == "bfloat16":
            ratios = {SHIPPED: WANTED[case]} | ratios
        added = {"MSE": 2, "Barlow Twins": 12} if case in TARGETS and not small else {}
    result = result or {}
    where = f"{case.words}, queue {case.queue:,}, {kind}"
    computes = "our step computes at {:.0f} % of the rate of a large product"
    why = computes.format(100 * _rate(result)[1] if SHIPPED in result else 0.0)
    aims = []
    if kind == "GPU" and case == GPU[0]:
        ours = (result[title][OURS] for title in (SHIPPED, COMPILED) if title in result)
        rate = max((case.batch / one["seconds"]["median"] for one in ours), default=None)
        aims = [Target(f"two-view samples a second: {where}", 2500, rate, "samples/s", on, why=why)]
    for title, wanted in ratios.items():
        row = result.get(title, {}).get(LIGHTLY)
        times = row and row["ratio"]["median"]
        what = f"step, {title}, against lightly's: {where}"
        # The large product was measured beside the step as it ships: eager steps share its turns.
        step = COMPILED if title == COMPILED and COMPILED in result else SHIPPED
        share = 100 * _rate(result, step)[1] if SHIPPED in result else 0.0
        needed = f"{computes}; the aim would take {{:.0f}} %".format(
            share, share * wanted / (times or 1)
        )
        aims.append(Target(what, wanted, times, "x", on, why=needed))
    for loss, most in added.items():
        row = result.get(ADDED, {}).get(loss)
        cost = row and 100 * (row["ratio"]["median"] - 1)
        what = f"{loss} on four stages, added to the step: {where}"
        least = row and f"at the full rate its products alone add {_least(result, row):.1f} %"
        aims.append(Target(what, most, cost, "%", on, at_most=True, why=f"{why}; {least}"))
    return aims


def _least(result: Result, row: Result) -> float:
    """Per cent that a loss would add if its products ran as fast as a large one."""
    added = (row["flops"] - result[SHIPPED][OURS]["flops"]) / 1e9
    rate, share = _rate(result)
    return float(100 * added / (rate / share) / result[ADDED][OURS]["seconds"]["median"])


def main() -> None:
    parser = command_line(__doc__)
    known = {case.name: case for case in CASES}
    parser.add_argument("--case", nargs="+", choices=known, metavar="CASE", default=[])
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result files")
    given = parser.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("there is no GPU here; nothing was measured")
    single_thread()
    default = GPU[:1] if given.device == "cuda" else tuple(dict.fromkeys((*TARGETS, *GRID)))
    cases = [known[name] for name in given.case] or default
    here = environment(given.device)
    kept = [] if given.again else [one for one in read_results("step") if is_of(one, here)]
    with tempfile.TemporaryDirectory() as folder:
        images = make_images(Path(folder) / "images", images=600, size=64).parent
        store = prepare(images, Path(folder) / "store", PrepareSettings(size=64)).path
        if given.quick:
            report(section([measure(SMALLEST, store, given.device, 2, keep=lambda _: None)]))
            return
        for case in cases:
            if any(_case(one) == case and not one.get("failed") for one in kept):
                say(f"{case.name}: {KEPT}")
                continue
            chip = re.sub(r"[^a-z0-9]+", "-", (here["gpu"] or precision("cpu")).lower())
            name = f"step-{case.name}-{chip}".removesuffix("-bfloat16")
            turns = 5 if case in TARGETS or given.device == "cuda" else 2
            keep = partial(write_result, name, folder=given.out)
            measure(case, store, given.device, turns, keep)


if __name__ == "__main__":
    main()
