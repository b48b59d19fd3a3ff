"""Ideas that might make the training step faster: each against the step as it is.

    python benchmarks/ideas.py [--idea NAME ...] [--repeats 5] [--quick]

Each idea is a change to one process, in turns with the step as it is (benchmarks/step.py); ratios
above 1 mean that the idea makes the step faster. What was tried stays in the result file, so that
ideas may be measured one at a time.
"""

import argparse
import ctypes.util
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import nn

from harness import RESULTS, Section, read_result, write_result
from medstrata import assembly, losses, pretraining
from medstrata.data.prepare import prepare
from medstrata.data.synthetic import make_images
from medstrata.moco import MoCo
from peers import Case
from step import SMALLEST, our_step
from wording import paragraphs, ratio, table
from workers import Program, Step, compare, show

AS_IS = "as it is"
SMALL = Case("resnet18", 64, 128, 65_536)
LONG_QUEUE = Case("resnet18", 28, 256, 65_536)
LARGE = Case("resnet50", 224, 32, 65_536)
DEPTHWISE = Case("convnext_tiny", 64, 64, 65_536)
Patched = Callable[[Case, Path], Step]


class Idea(NamedTuple):
    """Something to try, and what came of it."""

    case: Case
    make: Patched
    kept: bool
    why: str  # it is kept or not, besides its ratio
    environment: Mapping[str, str] = {}


def plain(case: Case, store: Path) -> Step:
    """The step as it is."""
    return our_step(case, store, "fair/moco")


def with_patch(owner: object, name: str, value: Any, case: Case, store: Path) -> Step:
    """The step with one name of the package replaced while it is built and while it runs."""
    with patch.object(owner, name, value):
        step = plain(case, store)

    def patched() -> object:
        with patch.object(owner, name, value):
            return step()

    return patched


def with_model(change: Callable[[MoCo], object], case: Case, store: Path) -> Step:
    """The step whose model was changed once it was built."""
    kept: list[MoCo] = []
    build = assembly.MoCo

    def keep(*arguments: Any, **options: Any) -> MoCo:
        kept.append(build(*arguments, **options))
        return kept[-1]

    with patch.object(assembly, "MoCo", keep):
        step = plain(case, store)
    change(kept[0])
    return step


def _one_by_one(model: MoCo, momentum: float) -> None:
    pairs = zip(model.key_encoder.parameters(), model.query_encoder.parameters(), strict=True)
    with torch.no_grad():
        for key, query in pairs:
            key.lerp_(query, 1 - momentum)


def _checkpointing(model: MoCo) -> None:
    model.query_encoder.backbone.model.set_grad_checkpointing(True)


def _cache_casts(model: MoCo) -> None:
    # Autocast keeps the cast of a weight only if it might ask for a gradient.
    model.key_encoder.requires_grad_(True)


def _inference_mode(model: MoCo) -> None:
    keys = model._keys  # noqa: SLF001

    def under_inference_mode(*arguments: Any) -> Any:
        with torch.inference_mode():
            key, taps = keys(*arguments)
        return key.clone(), {stage: tap.clone() for stage, tap in taps.items()}

    model._keys = under_inference_mode  # type: ignore[method-assign]  # noqa: SLF001


def _compile(mode: str, model: MoCo) -> None:
    model.query_encoder.compile(mode=mode)
    model.key_encoder.compile(mode=mode)


def _contiguous(model: MoCo) -> None:
    model.to(memory_format=torch.contiguous_format)


def flush_denormals(case: Case, store: Path) -> Step:
    """Numbers too small to be normal become 0."""
    torch.set_flush_denormal(True)
    return plain(case, store)


def medium_products(case: Case, store: Path) -> Step:
    """Products of float32 may compute in bfloat16."""
    torch.set_float32_matmul_precision("medium")
    return plain(case, store)


def bf16_queue(case: Case, store: Path) -> Step:
    """The queue's keys in bfloat16, cast when used."""
    built = assembly.Queue

    def half(*arguments: Any, **options: Any) -> nn.Module:
        queue = built(*arguments, **options)
        queue.keys = queue.keys.bfloat16()
        enqueue = queue.enqueue
        queue.enqueue = lambda keys, ids: enqueue(keys.bfloat16(), ids)  # type: ignore[method-assign]
        return queue

    return with_patch(assembly, "Queue", half, case, store)


def _nothing(*_: object) -> None:
    """Instead of `spare_slow_convolutions`."""


_SGD = torch.optim.SGD
_model = partial(partial, with_model)
_name = partial(partial, with_patch)
JEMALLOC = ctypes.util.find_library("jemalloc") or ""
IDEAS: dict[str, Idea] = {
    "slow depthwise convolutions not spared": Idea(
        DEPTHWISE,
        _name(assembly, "spare_slow_convolutions", _nothing),
        False,
        "the step as it is computes them in float32",
    ),
    **{
        f"InfoNCE in blocks of {block:,} keys": Idea(
            LONG_QUEUE,
            _name(losses, "_QUEUE_BLOCK", block),
            False,
            "exact as it is; blocks of 4,096 stay in cache",
        )
        for block in (1024, 2048, 8192, 16_384, 65_536)
    },
    "queue in bfloat16": Idea(
        LONG_QUEUE, bf16_queue, False, "not exact: keys are rounded to 8 bits"
    ),
    "float32 products as bfloat16": Idea(
        LONG_QUEUE,
        medium_products,
        False,
        "not exact: logits at temperature 0.07 off by up to 0.05 nats",
    ),
    "keys under inference_mode": Idea(
        SMALL, _model(_inference_mode), False, "keys must be copied to be contrasted"
    ),
    "casts of the key encoder's weights kept": Idea(
        SMALL, _model(_cache_casts), False, "sub-batches share them; the casts are small"
    ),
    "key encoder updated weight by weight": Idea(
        SMALL,
        _name(pretraining, "update_key_encoder", _one_by_one),
        False,
        "the step as it is updates all in one call",
    ),
    "fused SGD": Idea(SMALL, _name(torch.optim, "SGD", partial(_SGD, fused=True)), False, ""),
    "contiguous weights": Idea(
        SMALL, _model(_contiguous), False, "the step as it is has them channels-last"
    ),
    "denormals flushed": Idea(SMALL, flush_denormals, False, "a setting of the whole process"),
    "huge pages": Idea(SMALL, plain, False, "", {"THP_MEM_ALLOC_ENABLE": "1"}),
    "gradient checkpointing": Idea(
        LARGE,
        _model(_checkpointing),
        False,
        "BatchNorm's running averages would move twice a step; memory is not what limits",
    ),
    "torch.compile": Idea(SMALL, _model(partial(_compile, "default")), False, "`--compile` has it"),
    "torch.compile, max-autotune": Idea(
        SMALL, _model(partial(_compile, "max-autotune")), False, "minutes to compile"
    ),
} | (
    {"jemalloc": Idea(SMALL, plain, False, "not on every machine", {"LD_PRELOAD": JEMALLOC})}
    if JEMALLOC
    else {}
)
NOT_APPLICABLE = (
    "Two ideas cannot be measured. **Keys from a folded encoder in evaluation mode**: BatchNorm "
    "folded into convolutions normalises by running averages, while MoCo's key encoder normalises "
    "by its own batch; with averages the key encoder is another network, and the leak that "
    "shuffled sub-batches guard against turns into a gap between query and key. **Both views in "
    "one batch** where there is no BatchNorm: the views go through different weights, query and "
    "key encoder, and only a symmetric loss would send both through each."
)


def tried(name: str, case: Case, store: Path) -> Step:
    """The step with an idea, made in the process that takes it."""
    return IDEAS[name].make(case, store)


def measure(name: str, store: Path, repeats: int, case: Case | None = None) -> dict[str, Any]:
    """One idea in turns with the step as it is."""
    idea = IDEAS[name]
    case = case or idea.case
    programs = {
        AS_IS: Program(plain, (case, store)),
        name: Program(tried, (name, case, store), idea.environment),
    }
    rows = compare(programs, repeats)
    show(case.words, rows)
    # The step as it is over the idea: above 1 the idea is faster.
    gain = {key: 1 / value for key, value in rows[name]["ratio"].items()}
    gain["lower_quartile"], gain["upper_quartile"] = gain["upper_quartile"], gain["lower_quartile"]
    peaks = {which: rows[which]["peak_GiB"] for which in rows}
    return {"case": case._asdict(), "gain": gain, "peak_GiB": peaks, "turns": repeats}


def section() -> Section:
    """What was tried, from the result file."""
    result = read_result("ideas")
    found = result["ideas"]
    rows = []
    for name, idea in IDEAS.items():
        if name not in found:
            continue
        one = found[name]
        peaks = one["peak_GiB"]
        held = f"{peaks[AS_IS]:.2f}, {peaks[name]:.2f}"
        kept = "yes" if idea.kept else "no"
        rows.append([name, Case(**one["case"]).words, ratio(one["gain"]), held, kept, idea.why])
    head = ["idea", "network, pixels, batch", "faster by", "peak GiB, without and with", "kept"]
    missing = [name for name in IDEAS if name not in found]
    noise = (
        ""
        if result["environment"]["native_bf16"]
        else " Without bfloat16 nothing is cast and nothing spared: these lines show the noise."
    )
    text = paragraphs(
        "`python benchmarks/ideas.py`: each idea is one change to the step, in turns with the step "
        "as it is. Above 1 it makes the step faster; what gains less than 1.03 at its lower "
        "quartile, costs exactness or makes the step longer than a screen is not kept. The lines "
        "that are already in the step are measured by taking them out." + noise,
        table([*head, "why"], rows, "llrrll"),
        NOT_APPLICABLE,
        *([f"Not measured yet: {', '.join(missing)}."] if missing else []),
    )
    return Section("Ideas for a faster step", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idea", nargs="+", choices=list(IDEAS), default=list(IDEAS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="three ideas, small; no file")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images"
        make_images(images, images=400, size=64)
        store = prepare(images, Path(folder) / "store", size=64).path
        if given.quick:
            for name in ("InfoNCE in blocks of 8,192 keys", "keys under inference_mode"):
                measure(name, store, 2, SMALLEST)
            return
        for name in given.idea:
            print(name, flush=True)
            found = measure(name, store, given.repeats)
            before = read_result("ideas")["ideas"] if (RESULTS / "ideas.json").is_file() else {}
            path = write_result("ideas", {"ideas": {**before, name: found}})
        print(path)


if __name__ == "__main__":
    main()
