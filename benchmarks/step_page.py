"""The training step's part of docs/performance.md, from the result files of benchmarks/step.py."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness import Section, Target, find_result, read_result
from peers import PEERS, Case
from plots import times_as_fast
from wording import change, number, paragraphs, picture, processor, ratio, table
from workers import PRODUCT_FLOPS, Precision

OURS = "ours"
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "float32")
COLUMNS = ("as they ship", "like for like", "same allocator too")
LOSSES = ("MSE", "centred cosine", "Barlow Twins")
WANTED = {  # pixels of a network -> aim against lightly as it ships
    ("resnet50", 224): 5.0,
    ("resnet50", 64): 3.0,
    ("resnet18", 64): 2.2,
}
ADDED = {"MSE": 2.0, "Barlow Twins": 12.0}  # per cent over plain MoCo, at most
Result = Mapping[str, Any]

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    cases = list(dict.fromkeys((*targets, *grid)))
    measured = {
        precision: {
            case: result for case in cases if (result := find_result(result_name(case, precision)))
        }
        for precision in PRECISIONS
    }
    if not any(measured.values()):
        read_result(result_name(targets[0], PRECISIONS[0]))
    words = "Each network and size: how many times as fast our step is as lightly's"
    parts, claims = [WORDS, MEANING, picture("step", words)], []
    aims = [aim for case in targets for aim in _shipped_aim(case, measured["bfloat16"].get(case))]
    for precision, found in measured.items():
        if not found:
            continue
        whole = {case: found[case] for case in targets if case in found}
        parts += [f"### In {precision}", *_tables(found, whole)]
        if missing := [case.name for case in cases if case not in found]:
            parts.append(f"Not measured yet: {', '.join(missing)} (`--case NAME`).")
        aims += [_alike_aim(case, result) for case, result in found.items()]
        aims += [aim for case, result in whole.items() for aim in _loss_aims(case, result)]
        if "lightly" in whole.get(targets[0], {}).get(COLUMNS[0], {}):
            against = ratio(whole[targets[0]][COLUMNS[0]]["lightly"]["ratio"], 1)
            claims.append(f"{against} times as fast as lightly as it ships, ours in {precision}")
    claim = f"{targets[0].words}: {'; '.join(claims)}." if claims else ""
    figures = {"step": _figure([pair for found in measured.values() for pair in found.items()])}
    return Section("Training step", paragraphs(*parts), aims, figures, claim)


def _figure(found: Sequence[tuple[Case, Result]]) -> "Figure":
    """Ratios to lightly of every case and precision that was measured."""
    rows = [
        (
            f"{_named(case)}, {result['precision']}",
            {name: result[name]["lightly"]["ratio"] for name in COLUMNS if name in result},
        )
        for case, result in found
        if "lightly" in result[COLUMNS[0]]
    ]
    return times_as_fast(rows, "time(lightly) / time(ours), median and quartiles")


def _tables(found: Mapping[Case, Result], whole: Mapping[Case, Result]) -> list[str]:
    """Of one precision: all cases that were measured, and those of them with all comparisons."""
    detailed = [_against_peers(whole), _losses(whole), _where_time_goes(whole), _given_back(whole)]
    return [*(detailed if whole else []), GRID_WORDS, _grid(found)]


def result_name(case: Case, precision: Precision) -> str:
    """Of the result file of a case, measured in a precision."""
    return f"step-{case.name}" + ("" if precision == "bfloat16" else f"-{precision}")


def yardstick(precision: Precision) -> str:
    """Name of the large product that a step's rate is compared with."""
    return f"large {precision} product"


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
    first = next(iter(found.values()))
    names = list(first[COLUMNS[0]][OURS]["parts"])
    rows = []
    for case, result in found.items():
        ours = result[COLUMNS[0]][OURS]
        shares = [f"{100 * ours['parts'][name]:.0f} %" for name in names]
        rate, share = _rate(result, ours)
        rows.append([_named(case), *shares, f"{rate:.0f}", f"{100 * share:.0f} %"])
    most = f"of a {yardstick(first['precision'])}"
    head = ["our step, shares of its time", *names, "GFLOP/s", most]
    return table(head, rows)


def _rate(result: Result, row: Mapping[str, Any]) -> tuple[float, float]:
    """GFLOP/s of a step, and its share of what a large product reached in the same turns."""
    rate = row["flops"] / row["seconds"]["median"] / 1e9
    return rate, rate / (PRODUCT_FLOPS / _product_seconds(result) / 1e9)


def _product_seconds(result: Result) -> float:
    """Of the large product, in turns with the programs as they ship."""
    row = result[COLUMNS[0]][yardstick(result["precision"])]
    return float(row["seconds"]["median"])


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


def _shipped_aim(case: Case, result: Result | None) -> list[Target]:
    """Against lightly as it ships; set for processors with bfloat16, and judged on these alone."""
    wanted = WANTED.get((case.backbone, case.size))
    if wanted is None:
        return []
    what = f"step as it ships, against lightly's: {_named(case)}, bfloat16"
    if result is None:
        return [Target(what, wanted, None, "x")]
    measured, why = _median(result, COLUMNS[0], "lightly"), _needed(wanted, result) + _why(result)
    return [Target(what, wanted, measured, "x", why=why, on=_processor(result))]


def _alike_aim(case: Case, result: Result) -> Target:
    """Against lightly in the same precision and memory format."""
    wanted = 1.3 if case.queue == 65_536 and case.size < 64 else 1.1
    measured, why = _median(result, COLUMNS[1], "lightly"), _why(result)
    what = f"step like for like, against lightly's: {_named(case)}, {result['precision']}"
    return Target(what, wanted, measured, "x", why=why, on=_processor(result))


def _loss_aims(case: Case, result: Result) -> list[Target]:
    """What intermediate losses may add to the step."""
    if case.size < 64:
        return []
    aims = []
    for loss, most in ADDED.items():
        middle = _median(result, "what the losses add", loss)
        added, why = None if middle is None else 100 * (middle - 1), _why_loss(result, loss)
        what = f"{loss} on four stages, added to the step: {_named(case)}, {result['precision']}"
        aims.append(Target(what, most, added, "%", True, why, _processor(result)))
    return aims


def _processor(result: Result) -> str:
    return processor(result["environment"])


def _median(result: Result, column: str, name: str) -> float | None:
    if name not in result[column]:
        return None
    return float(result[column][name]["ratio"]["median"])


def _needed(wanted: float, result: Result) -> str:
    """The share of a large product's rate at which the step would have to compute for an aim."""
    measured = _median(result, COLUMNS[0], "lightly")
    if measured is None:
        return ""
    _, share = _rate(result, result[COLUMNS[0]][OURS])
    most = yardstick(result["precision"])
    return f"would take {100 * share * wanted / measured:.0f} % of a {most}'s rate; "


def _why(result: Result) -> str:
    """The largest parts of our step, and how near to a large product it computes."""
    ours = result[COLUMNS[0]][OURS]
    largest = sorted(ours["parts"].items(), key=lambda part: -part[1])[:3]
    shares = ", ".join(f"{100 * share:.0f} % {name}" for name, share in largest)
    _, share = _rate(result, ours)
    most = yardstick(result["precision"])
    return f"profile of our step: {shares}; {100 * share:.0f} % of a {most}'s rate"


def _why_loss(result: Result, loss: str) -> str:
    """How much arithmetic the loss adds, and at what rate products run here."""
    added = result["what the losses add"][loss]["flops"] - result[COLUMNS[0]][OURS]["flops"]
    plain = result["what the losses add"][OURS]["seconds"]["median"]
    least = added / PRODUCT_FLOPS * _product_seconds(result) / plain
    return (
        f"its products are {number(added / 1e9)} GFLOP a step; at the rate of a "
        f"{yardstick(result['precision'])} alone they add {100 * least:.1f} %"
    )
