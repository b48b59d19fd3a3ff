"""Programs in processes of their own, which take training steps in turns and say what they cost."""

import multiprocessing
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, redirect_stderr
from io import StringIO
from multiprocessing.connection import Connection
from typing import Any, Literal, NamedTuple, cast

import torch
from torch.profiler import ProfilerActivity, profile

from harness import held_memory, in_turns, spread
from medstrata.pretraining.profile.flops import count_operations

Step = Callable[[], object]
Precision = Literal["bfloat16", "float32"]
# Parts of a step, each with the words by which its operations are known; the first that fits.
_PARTS = {
    "convolutions": ("convolution",),
    "normalisation": ("batch_norm", "layer_norm", "group_norm"),
    "products and attention": ("mm", "linear", "attention", "einsum"),
    "pooling": ("pool",),
    "optimizer and key encoder": ("foreach", "lerp"),
}


class Program(NamedTuple):
    """What a process runs."""

    make: Callable[..., Step]  # importable, called in the process
    arguments: tuple[Any, ...]
    environment: Mapping[str, str] = {}  # variables that the process starts with


class Worker:
    """A program in a process of its own, which takes a step when asked."""

    def __init__(self, program: Program) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, program.make, program.arguments)
        )
        before = {name: os.environ.get(name) for name in program.environment}
        os.environ.update(program.environment)
        try:
            self._process.start()
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._pipe.send("end")
        self._process.join()

    def step(self) -> float:
        """Seconds of one step."""
        return cast(float, self.ask("step"))

    def ask(self, question: str) -> Any:
        """Ask for `step` (s), `peak` (GiB), `flops` of a step, or its `parts` (shares of time)."""
        self._pipe.send(question)
        return self._pipe.recv()


def _serve(pipe: Connection, make: Callable[..., Step], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)  # what the process that started it has set does not reach here
    with redirect_stderr(StringIO()):  # of many processes, each would warn of the same small set
        step = make(*arguments)
    answers: dict[str, Callable[[], Any]] = {
        "step": lambda: timed(step),
        "peak": lambda: held_memory("VmHWM"),
        "flops": lambda: count_operations(step),
        "parts": lambda: parts(step),
    }
    while (question := pipe.recv()) != "end":
        pipe.send(answers[question]())


def timed(step: Step) -> float:
    """Seconds of one step."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def parts(step: Step) -> dict[str, float]:
    """Shares of a step's processor time, by kind of operation."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes its own lines to stderr
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        step()
    shares = dict.fromkeys([*_PARTS, "element by element, copies"], 0.0)
    for event in watched.key_averages():
        known = (part for part, words in _PARTS.items() if any(w in event.key for w in words))
        shares[next(known, "element by element, copies")] += event.self_cpu_time_total
    total = sum(shares.values())
    return {part: share / total for part, share in shares.items()}


def product_step(precision: Precision) -> Step:
    """A large product, a yardstick of what the processor computes at most."""
    dtype = {"bfloat16": torch.bfloat16, "float32": torch.float32}[precision]
    first, second = (torch.randn(_PRODUCT, _PRODUCT, dtype=dtype) for _ in range(2))
    return lambda: torch.mm(first, second)


_PRODUCT = 2048
PRODUCT_FLOPS = 2 * _PRODUCT**3


def compare(
    programs: Mapping[str, Program], repeats: int, look: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Time and memory of each program, and its time as a ratio to that of the first in its turn.

    Args:
        programs: What to run, by name.
        repeats: Turns that are kept, two or more.
        look: Programs that are asked for their operations and parts as well.
    """
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(one)) for name, one in programs.items()}
        seconds = in_turns({name: worker.step for name, worker in workers.items()}, repeats)
        peaks = {name: worker.ask("peak") for name, worker in workers.items()}
        seen = {
            name: {"flops": workers[name].ask("flops"), "parts": workers[name].ask("parts")}
            for name in look
        }
    first = seconds[next(iter(programs))]
    return {
        name: {
            "seconds": spread(seconds[name]),
            "ratio": spread([one / ours for one, ours in zip(seconds[name], first, strict=True)]),
            "peak_GiB": peaks[name],
            **seen.get(name, {}),
        }
        for name in programs
    }


def show(title: str, rows: Mapping[str, Any]) -> None:
    """Print what `compare` found."""
    print(f"  {title:<36}{'s a step':>10}{'ratio':>8}{'quartiles':>16}{'peak GiB':>10}")
    for name, row in rows.items():
        ratio = row["ratio"]
        ends = f"{ratio['lower_quartile']:.2f} - {ratio['upper_quartile']:.2f}"
        print(
            f"    {name:<34}{row['seconds']['median']:10.3f}{ratio['median']:8.2f}{ends:>16}"
            f"{row['peak_GiB']:10.2f}",
            flush=True,
        )
