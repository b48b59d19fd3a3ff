"""Programs in processes of their own, which take training steps in turns and say what they cost."""

import multiprocessing
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack, redirect_stderr
from functools import partial
from io import StringIO
from multiprocessing.connection import Connection
from typing import Any

import torch

from harness import Result, held_memory, in_turns, single_thread, spread, spread_of_ratio
from medstrata.pretraining.profile.measure import count_operations, timed

Step = Callable[[], object]
Make = Callable[[], Step]

_PATIENCE_S = 300  # for an answer; the first also waits for the step's compilation


class Worker:
    """A step that is made and taken in a process of its own, when asked.

    It is made and taken once as soon as there is a worker, so that those of a comparison compile
    side by side.

    Args:
        make: Makes the step, called in the process; can be pickled.
    """

    def __init__(self, make: Make) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, make))
        self._process.start()
        theirs.close()  # so that a process that has died is noticed

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.is_alive():
            self._pipe.send("end")
        self._process.join()

    def ask(self, question: str) -> Any:
        """Ask for `seconds` or `flops` of a step, or the `peak` of memory so far, GiB.

        Raises:
            EOFError, OSError: the process has died, and its own error is on the terminal; or it has
                not answered for minutes, and is ended.
        """
        self._pipe.send(question)
        if not self._pipe.poll(_PATIENCE_S):
            self._process.kill()
            raise TimeoutError(f"no answer after {_PATIENCE_S} s")
        return self._pipe.recv()


def _serve(pipe: Connection, make: Make) -> None:
    single_thread()
    with redirect_stderr(StringIO()):  # of many processes, each would warn of the same small set
        step = make()
        step()
    answers: dict[str, Callable[[], Any]] = {
        "seconds": lambda: _seconds(step),
        "peak": _peak,
        "flops": lambda: count_operations(step),
    }
    while (question := pipe.recv()) != "end":
        pipe.send(answers[question]())


def _seconds(step: Step) -> float:
    """Of one step; on a GPU, where a step is short, the mean of ten."""
    if torch.cuda.is_initialized():
        return timed(lambda: [step() for _ in range(10)], torch.device("cuda")) / 10
    return timed(step, torch.device("cpu"))


def _peak() -> float:
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated() / 2**30
    return held_memory("VmHWM")


def large_product(dtype: str, device: str) -> Step:
    """A large product, a yardstick of what the device computes at most."""
    size = product_size(device)
    first, second = (
        torch.randn(size, size, dtype=getattr(torch, dtype), device=device) for _ in range(2)
    )
    return lambda: torch.mm(first, second)


def product_size(device: str) -> int:
    """Rows and columns of its matrices."""
    return 2048 if device == "cpu" else 8192


def compare(programs: Mapping[str, Make], turns: int, counted: Collection[str] = ()) -> Result:
    """Time and memory of each program, and its time as a ratio to that of the first in its turn.

    Args:
        programs: What makes the step of each, by name.
        turns: How many are kept, two or more.
        counted: The programs whose operations are counted as well, by name.

    Raises:
        EOFError, OSError: one of the programs has died, or has not answered for minutes.
    """
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(one)) for name, one in programs.items()}
        measures = {name: partial(worker.ask, "seconds") for name, worker in workers.items()}
        seconds = in_turns(measures, turns)
        found = {
            name: {
                "seconds": spread(seconds[name]),
                "ratio": spread_of_ratio(seconds[name], next(iter(seconds.values()))),
                "peak_GiB": worker.ask("peak"),
            }
            for name, worker in workers.items()
        }
        for name in counted:
            found[name]["flops"] = workers[name].ask("flops")
    return found
