"""`--profile`: watch some steps of a run, and say what limits it. The run's results stay the same.

After a warm-up, steps are timed as they are; then one is run under PyTorch's profiler for its
parts, and one is counted for its operations. At the end of the run, or when it is stopped, the
device's roofline and the loader are measured by themselves.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import torch
from rich.table import Table

from medstrata.data.loader import Prefetched
from medstrata.pretraining.build import Training
from medstrata.pretraining.moco import Loss
from medstrata.pretraining.profile.bottleneck import (
    LOOP,
    WAITING,
    StepMeasurements,
    explain,
    main_limit,
)
from medstrata.pretraining.profile.measure import count_operations, loader_rates
from medstrata.pretraining.profile.roofline import measure_roofline
from medstrata.pretraining.profile.trace import PYTHON, as_shares, trace_steps
from medstrata.runs.environment import environment
from medstrata.runtime.console import say, show, warn
from medstrata.runtime.devices import compute_precision
from medstrata.runtime.errors import Stopped
from medstrata.runtime.files import write_text
from medstrata.runtime.machine import busy_seconds, usable_cores
from medstrata.runtime.memory import memory

Watch = Callable[[Callable[[], Loss], Prefetched], Loss]  # takes a step, and its source of batches
_WARM_UP, _TIMED = 10, 20  # steps, fewer in a short run


def unwatched(step: Callable[[], Loss], _batches: Prefetched) -> Loss:
    """The watch of a run that is not profiled."""
    return step()


@contextmanager
def profiling(training: Training, *, wanted: bool) -> Iterator[Watch]:
    """Give what watches the steps of a run; at the end write profile.json and show it.

    Args:
        training: What is about to be trained.
        wanted: Whether to profile at all; of several processes, the first does.
    """
    if not wanted or not training.accelerator.is_main_process:
        yield unwatched
        return
    observer = _Observer(training)
    try:
        yield observer.watch
    except Stopped:
        observer.conclude()
        raise
    observer.conclude()


class _Observer:
    """Collects times; changes nothing that the steps compute."""

    def __init__(self, training: Training) -> None:
        self._training, self._device = training, training.accelerator.device
        steps = training.resolved.steps - training.step
        self._warm_up = min(_WARM_UP, steps // 4)
        self._timed = min(_TIMED, max(0, steps - self._warm_up - 3))
        self._seen = self._cycles = 0
        self._epoch: Prefetched | None = None
        self._in_step = 0.0
        self._clocks = self._passed = np.zeros(5)
        self._parts: dict[str, float] = {}
        self._traced_s = 0.0
        self._flop: float | None = None

    def watch(self, step: Callable[[], Loss], batches: Prefetched) -> Loss:
        """Take a step, and note what is to be noted of it."""
        losses: list[Loss] = []
        self._take(lambda: losses.append(step()), batches)
        return losses[0]

    def _take(self, step: Callable[[], None], batches: Prefetched) -> None:
        place = self._seen - self._warm_up
        self._seen += 1
        if place == self._timed + 1:
            losses = self._training.model.intermediate
            self._parts, self._traced_s = trace_steps(step, losses, self._device)
        elif place == self._timed + 2 and not self._training.settings.compile:
            self._flop = float(count_operations(step))
        elif 0 <= place <= self._timed:
            if place in (0, self._timed) and self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self._end_cycle(batches)
            started = time.perf_counter()
            step()
            self._in_step += time.perf_counter() - started
        else:
            step()

    def _end_cycle(self, batches: Prefetched) -> None:
        """Note what passed since the last step began; not across epochs, which have an end."""
        clocks = (time.perf_counter(), time.process_time(), busy_seconds(), batches.waited_s)
        now = np.array([*clocks, self._in_step])
        if self._epoch is batches:
            self._passed = self._passed + now - self._clocks
            self._cycles += 1
        self._epoch, self._clocks = batches, now

    def conclude(self) -> None:
        """Measure device and loader by themselves, write profile.json, show it."""
        if not self._parts or not self._cycles:
            warn("too few steps to profile: the run needs about five within one epoch")
            return
        say("profile: measuring the device and the loader by themselves")
        measured = self._observed()
        sentences = explain(measured)
        record = {
            **asdict(measured),
            "samples_per_s": measured.samples_per_s,
            "ceiling_share": measured.ceiling_share,
            "loader_share": measured.loader_share,
            "timed_steps": self._cycles,
            "limit": main_limit(measured),
            "sentences": sentences,
            "environment": environment(),
        }
        path = self._training.folder / "profile.json"
        write_text(path, json.dumps(record, indent=2) + "\n")
        show(_shares_table(measured))
        for sentence in sentences:
            say(sentence)
        say(f"profile in {path}")

    def _observed(self) -> StepMeasurements:
        training, device = self._training, self._device
        peak = memory(device)  # before the measurements below take some of their own
        wall, own, busy, waited, in_step = self._passed.tolist()
        roofline = measure_roofline(device)
        rates = None if training.loader.store.is_remote else loader_rates(training.loader)
        return StepMeasurements(
            on_gpu=device.type == "cuda",
            batch_size=training.settings.batch_size // training.accelerator.num_processes,
            step_seconds=wall / self._cycles,
            shares=self._shares(waited / wall, in_step / wall, wall / self._cycles),
            precision=compute_precision(training.accelerator),
            flop=self._flop,
            ceiling=roofline,
            loader_rate=rates and rates[0],
            loader_rate_per_core=rates and rates[1],
            cores=usable_cores(),
            threads=torch.get_num_threads(),
            own_cores=own / wall,
            other_cores=max(0.0, busy - own) / wall,
            memory=peak,
        )

    def _shares(self, waiting: float, in_step: float, cycle_s: float) -> dict[str, float]:
        """What a step is made of; adds up to 1."""
        if self._device.type == "cuda":
            # The parts are times of the device; what it is without work is waiting, or Python's.
            shares = as_shares(self._parts, cycle_s)
            waiting = min(waiting, shares[PYTHON])
            return {WAITING: waiting, **shares, PYTHON: shares[PYTHON] - waiting, LOOP: 0.0}
        shares = as_shares(self._parts, self._traced_s)
        inside = {name: share * in_step for name, share in shares.items()}
        return {WAITING: waiting, **inside, LOOP: 1.0 - waiting - in_step}


def _shares_table(measured: StepMeasurements) -> Table:
    seconds, rate = measured.step_seconds, measured.samples_per_s
    title = f"a step takes {seconds:.3g} s, {rate:.0f} two-view samples/s"
    table = Table("part", "share", title=title)
    for name, share in measured.shares.items():
        table.add_row(name, f"{share:.1%}")
    table.add_row("together", f"{sum(measured.shares.values()):.1%}")
    return table
