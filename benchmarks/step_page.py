"""The training step's part of docs/performance.md, from the result files of benchmarks/step.py."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness import Section, Target, read_result
from peers import PEERS, Case
from wording import change, number, paragraphs, ratio, table
from workers import PRODUCT_FLOPS

OURS, YARDSTICK = "ours", "large bfloat16 product"
COLUMNS = ("as they ship", "like for like", "same allocator too")
LOSSES = ("MSE", "centred cosine", "Barlow Twins")
WANTED = {  # pixels of a network -> aim against lightly as it ships
    ("resnet50", 224): 5.0,
    ("resnet50", 64): 3.0,
    ("resnet18", 64): 2.2,
}
ADDED = {"MSE": 2.0, "Barlow Twins": 12.0}  # per cent over plain MoCo, at most
Result = Mapping[str, Any]

WORDS = (
    "`python benchmarks/step.py`: every program has a process of its own and one thread; they take "
    "turns after a warm-up, on a batch made beforehand. The ratio is time(peer) / time(ours), "
    "median over turns with quartiles. The peers: lightly's MoCo blocks as its documentation puts "
    "them together; algorithm 1 of the MoCo paper in plain PyTorch, as one would write it down "
    "(`benchmarks/peers.py`); stable-pretraining's MoCo v2, where it is installed. solo-learn is "
    "not among them: it requires torch 1.9.1 and does not install beside the torch that the others "
    "use."
)
MEANING = (
    "**As they ship**: peers in float32 and contiguous memory, ours with recipe `fair/moco` "
    "(bfloat16 where the processor has it, channels-last, shuffled key sub-batches, an image's own "
    "old keys left out). **Like for like**: the same precision and memory format for the peer, and "
    "ours without sub-batches and without leaving keys out; that ours tells the allocator to keep "
    "freed memory stays an advantage of ours. **Same allocator too** gives the peer that as well: "
    "what is left is code."
)
GRID_WORDS = (
    "**Other networks and sizes**, against lightly, fewer turns, queue 65,536. ConvNeXt-Tiny at 28 "
    "px is left out because its last stage would have no pixel, ViT-S/16 because 28 px are not a "
    "whole number of patches."
)


def section(targets: Sequence[Case], grid: Sequence[Case]) -> Section:
    """Tables, aims and what stands in their way; cases that are not measured are named.

    Raises:
        FileNotFoundError: none was measured.
    """
    found = {case: result for case in (*targets, *grid) if (result := _read(case))}
    if not found:
        read_result(f"step-{targets[0].name}")
    whole = {case: found[case] for case in targets if case in found}
    missing = [case.name for case in dict.fromkeys((*targets, *grid)) if case not in found]
    parts = [WORDS, MEANING, _against_peers(whole), _losses(whole), _where_time_goes(whole)]
    parts += [_given_back(whole), GRID_WORDS, _grid(found)]
    if missing:
        parts.append(f"Not measured yet: {', '.join(missing)} (`--case NAME`).")
    aims = [aim for case in targets for aim in _aims(case, found.get(case))]
    claim = ""
    if targets[0] in whole and "lightly" in whole[targets[0]][COLUMNS[0]]:
        against = whole[targets[0]][COLUMNS[0]]["lightly"]["ratio"]
        claim = f"{targets[0].words}: {ratio(against, 1)} times as fast as lightly as it ships."
    return Section("Training step", paragraphs(*parts), aims, claim=claim)


def _read(case: Case) -> Result | None:
    try:
        return read_result(f"step-{case.name}")
    except FileNotFoundError:
        return None


def _named(case: Case) -> str:
    return f"{case.words}, queue {case.queue:,}"


def _against_peers(found: Mapping[Case, Result]) -> str:
    rows = []
    for case, result in found.items():
        for peer in PEERS:
            if peer not in result[COLUMNS[0]]:
                continue
            rows.append(
                [_named(case), peer]
                + [ratio(result[column][peer]["ratio"]) for column in COLUMNS]
                + [_peaks(result[column], peer) for column in (COLUMNS[0], COLUMNS[2])]
            )
    head = ["network, pixels, batch", "peer", *COLUMNS]
    peaks = ["peak GiB as they ship, peer and ours", "same allocator"]
    return table([*head, *peaks], rows, "llrrrrr")


def _peaks(rows: Result, peer: str) -> str:
    return ", ".join(f"{rows[name]['peak_GiB']:.2f}" for name in (peer, OURS))


def _losses(found: Mapping[Case, Result]) -> str:
    rows = [
        [_named(case), *(change(result["what the losses add"][name]["ratio"]) for name in LOSSES)]
        for case, result in found.items()
    ]
    return table(["added to plain MoCo on four stages", *LOSSES], rows)


def _where_time_goes(found: Mapping[Case, Result]) -> str:
    """Shares of a step, and what it computes beside a large product."""
    names = list(next(iter(found.values()))[COLUMNS[0]][OURS]["parts"]) if found else []
    rows = []
    for case, result in found.items():
        ours = result[COLUMNS[0]][OURS]
        shares = [f"{100 * ours['parts'][name]:.0f} %" for name in names]
        rate, share = _rate(result, ours)
        rows.append([_named(case), *shares, f"{rate:.0f}", f"{100 * share:.0f} %"])
    head = ["our step, shares of its time", *names, "GFLOP/s", "of a large bfloat16 product"]
    return table(head, rows)


def _rate(result: Result, row: Mapping[str, Any]) -> tuple[float, float]:
    """GFLOP/s of a step, and its share of what a large product reached in the same turns."""
    rate = row["flops"] / row["seconds"]["median"] / 1e9
    most = PRODUCT_FLOPS / result[COLUMNS[0]][YARDSTICK]["seconds"]["median"] / 1e9
    return rate, rate / most


def _given_back(found: Mapping[Case, Result]) -> str:
    rows = [
        [_named(case), ratio(result["freed memory given back"]["memory given back"]["ratio"])]
        for case, result in found.items()
    ]
    words = (
        "**Freed memory kept.** On glibc, `pretrain` and `finetune` on a CPU ask the allocator to "
        "keep large blocks that are freed (`devices.keep_freed_memory`). By default they go back "
        "to the system after each use, which clears the same pages anew for the next."
    )
    return paragraphs(words, table(["our step", "time when memory is given back, to ours"], rows))


def _grid(found: Mapping[Case, Result]) -> str:
    rows = [
        [_named(case), *(ratio(result[column]["lightly"]["ratio"]) for column in COLUMNS[:2])]
        for case, result in found.items()
        if "lightly" in result[COLUMNS[0]]
    ]
    return table(["network, pixels, batch", *COLUMNS[:2]], rows)


def _aims(case: Case, result: Result | None) -> list[Target]:
    """The aims of one case: ratios against lightly, and what the losses may add."""
    why = _why(result) if result else ""
    aims = []
    if wanted := WANTED.get((case.backbone, case.size)):
        measured = _median(result, COLUMNS[0], "lightly")
        what = f"step as it ships, against lightly's: {_named(case)}"
        aims.append(Target(what, wanted, measured, "x", why=_needed(wanted, result) + why))
    wanted = 1.3 if case.queue == 65_536 and case.size < 64 else 1.1
    measured = _median(result, COLUMNS[1], "lightly")
    what = f"step like for like, against lightly's: {_named(case)}"
    aims.append(Target(what, wanted, measured, "x", why=why))
    if case.size >= 64:
        for loss, most in ADDED.items():
            middle = _median(result, "what the losses add", loss)
            added = None if middle is None else 100 * (middle - 1)
            what = f"{loss} on four stages, added to the step: {_named(case)}"
            aims.append(Target(what, most, added, "%", True, _why_loss(result, loss)))
    return aims


def _median(result: Result | None, column: str, name: str) -> float | None:
    if result is None or name not in result[column]:
        return None
    return float(result[column][name]["ratio"]["median"])


def _needed(wanted: float, result: Result | None) -> str:
    """The share of a large product's rate at which the step would have to compute for an aim."""
    measured = _median(result, COLUMNS[0], "lightly")
    if result is None or measured is None:
        return ""
    _, share = _rate(result, result[COLUMNS[0]][OURS])
    return (
        f"would take {100 * share * wanted / measured:.0f} % of a large bfloat16 product's rate; "
    )


def _why(result: Result) -> str:
    """The largest parts of our step, and how near to a large product it computes."""
    ours = result[COLUMNS[0]][OURS]
    largest = sorted(ours["parts"].items(), key=lambda part: -part[1])[:3]
    shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in largest)
    _, share = _rate(result, ours)
    return f"profile of our step: {shares}; {100 * share:.0f} % of a large bfloat16 product's rate"


def _why_loss(result: Result | None, loss: str) -> str:
    """How much arithmetic the loss adds, and at what rate products run here."""
    if result is None:
        return ""
    added = result["what the losses add"][loss]["flops"] - result[COLUMNS[0]][OURS]["flops"]
    plain = result["what the losses add"][OURS]["seconds"]["median"]
    product = result[COLUMNS[0]][YARDSTICK]["seconds"]["median"]
    least = added / PRODUCT_FLOPS * product / plain
    return (
        f"its products are {number(added / 1e9)} GFLOP a step; at the rate of a large bfloat16 "
        f"product alone they add {100 * least:.1f} %"
    )
