"""`--profile`: watch some steps of a run, and say what limits it. The run's results stay the same.

After a warm-up, steps are timed as they are; then one is run under PyTorch's profiler for its
parts, and one is counted for its operations. At the end of the run, or when it is stopped, the
device's ceiling and the loader are measured by themselves.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from typing import NamedTuple

import torch
from rich.table import Table

from medstrata.data.loader import Loader, Prefetched
from medstrata.data.views import make_views
from medstrata.pretraining.build import Training
from medstrata.pretraining.moco import Loss
from medstrata.pretraining.profile.bottleneck import LOOP, WAITING, Observed, explain, main_limit
from medstrata.pretraining.profile.flops import count_operations
from medstrata.pretraining.profile.roofline import measure_ceiling
from medstrata.pretraining.profile.trace import PYTHON, as_shares, trace_steps
from medstrata.runs.environment import environment
from medstrata.runtime.console import say, show, warn
from medstrata.runtime.devices import computed_in
from medstrata.runtime.errors import Stopped
from medstrata.runtime.files import write_text
from medstrata.runtime.machine import busy_seconds, usable_cores
from medstrata.runtime.memory import memory
from medstrata.runtime.threads import image_threads

Watch = Callable[[Callable[[], Loss], Prefetched], Loss]  # takes a step, and its source of batches
_WARM_UP, _TIMED = 10, 20  # steps, fewer in a short run
_LOADED_S = 2.0  # the loader is measured for about as long


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


class _Clocks(NamedTuple):
    """Seconds, at a moment or between two."""

    wall: float
    own: float  # processor time of this process
    busy: float  # processor time of all programs
    waited: float  # for batches of this epoch
    in_step: float = 0.0


class _Observer:
    """Collects times; changes nothing that the steps compute."""

    def __init__(self, training: Training) -> None:
        self._training = training
        self._device = training.accelerator.device
        steps = training.settings.epochs * training.loader.steps_per_epoch - training.step
        self._warm_up = min(_WARM_UP, steps // 4)
        self._timed = min(_TIMED, max(0, steps - self._warm_up - 3))
        self._seen = 0
        self._epoch: Prefetched | None = None
        self._start = _Clocks(0.0, 0.0, 0.0, 0.0)
        self._in_step = 0.0
        self._cycles: list[_Clocks] = []
        self._parts: tuple[dict[str, float], float] | None = None
        self._flop: float | None = None

    def watch(self, step: Callable[[], Loss], batches: Prefetched) -> Loss:
        """Take a step, and note what is to be noted of it."""
        place = self._seen - self._warm_up
        self._seen += 1
        if place == self._timed + 1:
            return self._traced(step)
        if place == self._timed + 2 and not self._training.settings.compile:
            return self._counted(step)
        if not 0 <= place <= self._timed:
            return step()
        if place in (0, self._timed) and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._end_cycle(batches)
        started = time.perf_counter()
        loss = step()
        self._in_step = time.perf_counter() - started
        return loss

    def _end_cycle(self, batches: Prefetched) -> None:
        """Note what passed since the last step began; not across epochs, which have an end."""
        now = _Clocks(time.perf_counter(), time.process_time(), busy_seconds(), batches.waited_s)
        start = self._start
        if self._epoch is batches:
            passed = (end - begin for end, begin in zip(now[:4], start[:4], strict=True))
            self._cycles.append(_Clocks(*passed)._replace(in_step=self._in_step))
        self._epoch, self._start = batches, now

    def _traced(self, step: Callable[[], Loss]) -> Loss:
        losses: list[Loss] = []
        self._parts = trace_steps(
            lambda: losses.append(step()), self._training.model.intermediate, self._device
        )
        return losses[0]

    def _counted(self, step: Callable[[], Loss]) -> Loss:
        losses: list[Loss] = []
        self._flop = float(count_operations(lambda: losses.append(step())))
        return losses[0]

    def conclude(self) -> None:
        """Measure device and loader by themselves, write profile.json, show it."""
        if self._parts is None or not self._cycles:
            warn("too few steps to profile: the run needs about five within one epoch")
            return
        say("profile: measuring the device and the loader by themselves")
        seen = self._observed()
        sentences = explain(seen)
        record = {
            **asdict(seen),
            "samples_per_s": seen.samples_per_s,
            "ceiling_share": seen.ceiling_share,
            "loader_share": seen.loader_share,
            "timed_steps": len(self._cycles),
            "limit": main_limit(seen),
            "sentences": sentences,
            "environment": environment(),
        }
        path = self._training.folder / "profile.json"
        write_text(path, json.dumps(record, indent=2) + "\n")
        show(_table(seen))
        for sentence in sentences:
            say(sentence)
        say(f"profile in {path}")

    def _observed(self) -> Observed:
        t, device = self._training, self._device
        peak = memory(device)  # before the measurements below take some of their own
        wall = sum(cycle.wall for cycle in self._cycles)
        own = sum(cycle.own for cycle in self._cycles)
        busy = sum(cycle.busy for cycle in self._cycles)
        ceiling = measure_ceiling(device)
        rates = None if t.loader.store.is_remote else loader_rates(t.loader)
        return Observed(
            on_gpu=device.type == "cuda",
            batch_size=t.settings.batch_size // t.accelerator.num_processes,
            step_seconds=wall / len(self._cycles),
            shares=self._shares(wall),
            precision=computed_in(t.accelerator),
            flop=self._flop,
            ceiling=ceiling,
            loader_rate=rates and rates[0],
            loader_rate_per_core=rates and rates[1],
            cores=usable_cores(),
            threads=torch.get_num_threads(),
            own_cores=own / wall,
            other_cores=max(0.0, busy - own) / wall,
            memory=peak,
        )

    def _shares(self, wall: float) -> dict[str, float]:
        """What a step is made of; adds up to 1."""
        assert self._parts is not None
        parts, traced = self._parts
        waiting = min(1.0, sum(cycle.waited for cycle in self._cycles) / wall)
        if self._device.type == "cuda":
            # The parts are times of the device; what it is without work is waiting, or Python's.
            shares = as_shares(parts, wall / len(self._cycles))
            waiting = min(waiting, shares[PYTHON])
            return {WAITING: waiting, **shares, PYTHON: shares[PYTHON] - waiting, LOOP: 0.0}
        in_step = min(sum(cycle.in_step for cycle in self._cycles) / wall, 1.0 - waiting)
        inside = {name: share * in_step for name, share in as_shares(parts, traced).items()}
        return {WAITING: waiting, **inside, LOOP: 1.0 - waiting - in_step}


def loader_rates(loader: Loader) -> tuple[float, float]:
    """What a loader makes while nothing else runs: samples a second, and a processor second."""
    made, started, own = 0, time.perf_counter(), time.process_time()
    with image_threads() as executor:
        for number in count():
            epoch, step = divmod(number, loader.steps_per_epoch)
            rows = loader.batch_rows(epoch, step)
            make_views(
                loader.store, rows, loader.settings, seed=loader.seed, epoch=epoch,
                views=loader.views, executor=executor,
            )  # fmt: skip
            made += len(rows)
            if time.perf_counter() - started > _LOADED_S:
                break
    return made / (time.perf_counter() - started), made / (time.process_time() - own)


def _table(seen: Observed) -> Table:
    title = f"a step takes {seen.step_seconds:.3g} s, {seen.samples_per_s:.0f} two-view samples/s"
    table = Table("part", "share", title=title)
    for name, share in seen.shares.items():
        table.add_row(name, f"{share:.1%}")
    table.add_row("together", f"{sum(seen.shares.values()):.1%}")
    return table
