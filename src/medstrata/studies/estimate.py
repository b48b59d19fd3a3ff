"""What a study will take, before it runs: its cells, time, memory and disk."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from rich.table import Table

from medstrata.data.labels import make_task
from medstrata.data.splits import labelled_rows
from medstrata.data.store.open import open_store
from medstrata.data.store.store import SPLITS, Store
from medstrata.evaluation.forecast import tuning_seconds
from medstrata.evaluation.settings import FinetuneProtocol
from medstrata.models.cost import NetworkCost, measure_cost
from medstrata.pretraining.forecast import disk_bytes, step_seconds
from medstrata.pretraining.settings import PretrainSettings
from medstrata.pretraining.sizing import resolve_sizes
from medstrata.runtime.console import duration, say
from medstrata.runtime.devices import device_name, evaluation_device, make_accelerator
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.forecast import SMALL_FILES, TrainingMemory, cores_worth, gib
from medstrata.runtime.machine import default_threads
from medstrata.runtime.precision import Precision
from medstrata.runtime.process_state import preserve_process_state
from medstrata.studies.cell_settings import finetune_settings, pretrain_settings
from medstrata.studies.ledger import Ledger
from medstrata.studies.plan import StudyCell, input_digests, plan, store_path
from medstrata.studies.progress import CellDurations
from medstrata.studies.settings import StudySettings

# A fit, an interval and the writing of a run folder.
_OVERHEAD_SECONDS = 2.0
_MEASURED_BATCH = 128
# What a worker holds before its first step: Python, torch and what they import.
_WORKER_BYTES = 850 * 2**20


@dataclass(frozen=True, kw_only=True)
class CellEstimate:
    """What a cell will take.

    Attributes:
        cell: The cell.
        seconds: Of its work, 0 if it is finished, None where its data are not prepared yet.
        memory: Bytes at the most, 0 where it is not known.
        disk: Bytes of its folder, 0 if it is finished or not known.
        finished: Whether it is.
    """

    cell: StudyCell
    seconds: float | None
    memory: float
    disk: int
    finished: bool


@dataclass(frozen=True)
class StudyEstimate:
    """What a study will take.

    Attributes:
        cells: Of each cell, in the order in which they run.
        jobs: How many run at a time.
    """

    cells: list[CellEstimate]
    jobs: int

    @property
    def seconds(self) -> float:
        """Of what is left to do, as far as it is known."""
        return sum(one.seconds or 0.0 for one in self.cells) / self.jobs

    @property
    def memory(self) -> float:
        """Bytes at the most, of all that runs at a time."""
        return self.jobs * max(one.memory for one in self.cells)

    @property
    def disk(self) -> int:
        """Bytes of what is left to write."""
        return sum(one.disk for one in self.cells)

    def lines(self) -> str:
        """Every cell with its time, and the sum."""
        written = [f"{one.cell.folder:<60} {_state(one)}" for one in self.cells]
        return "\n".join([*written, self.summary()]) + "\n"

    def summary(self) -> str:
        """The sum in a sentence."""
        waiting = sum(1 for one in self.cells if not one.finished)
        unknown = sum(1 for one in self.cells if one.seconds is None)
        later = f"; {unknown} cells cannot be estimated before their data are prepared"
        return (
            f"{len(self.cells)} cells, {waiting} to run, {self.jobs} at a time: about "
            f"{duration(self.seconds)}, {gib(self.memory)} of memory and {gib(self.disk)} of disk "
            f"on {device_name(evaluation_device())}{later if unknown else ''}"
        )

    def table(self) -> Table:
        """A row for each kind of work, its times as if nothing else ran beside it."""
        table = Table("work", "cells", "time", "memory", "disk")
        for column in table.columns[1:]:
            column.justify = "right"
        for kind in dict.fromkeys(one.cell.kind for one in self.cells):
            cells = [one for one in self.cells if one.cell.kind == kind]
            seconds = sum(one.seconds or 0.0 for one in cells) / self.jobs
            memory = self.jobs * max(one.memory for one in cells)
            disk = sum(one.disk for one in cells)
            table.add_row(_WORK[kind], f"{len(cells):,}", duration(seconds), gib(memory), gib(disk))
        table.add_section()
        table.add_row(
            "all", f"{len(self.cells):,}", duration(self.seconds), gib(self.memory),
            gib(self.disk),
        )  # fmt: skip
        return table


_WORK = {
    "prepare": "images into stores",
    "pretrain": "pre-training",
    "frozen": "read-outs of frozen features",
    "full": "fine-tuning of all weights",
    "probe": "probing of layers",
    "reuse": "feature reuse",
    "atlas": "atlas of features",
}


def _state(one: CellEstimate) -> str:
    if one.finished:
        return "finished"
    return "unknown" if one.seconds is None else f"about {duration(one.seconds)}"


@preserve_process_state()
def estimate(settings: StudySettings, out: Path, root: Path, jobs: int) -> StudyEstimate:
    """Estimate every cell of a study; nothing is run or written.

    Finished cells of the same study tell how long their like take; for the others each network is
    timed for a moment on this machine.

    Args:
        settings: The study.
        out: Its folder; need not exist.
        root: Folder that relative paths start from.
        jobs: Cells that run at a time.
    """
    cells, ledger = plan(settings, input_digests(settings, root)), Ledger(out)
    finished = {cell.folder: cell for cell in cells if ledger.finished(cell)}
    pace = CellDurations()
    for cell in finished.values():
        if (result := ledger.result(cell)) is not None:
            pace.add(cell, float(result["seconds"]))
    costs = _Costs(settings, out, root, max(1, default_threads() // jobs))
    return StudyEstimate(list(_each(cells, set(finished), pace, costs)), jobs)


def _each(
    cells: list[StudyCell], finished: set[str], pace: CellDurations, costs: "_Costs"
) -> Iterator[CellEstimate]:
    for cell in cells:
        done = cell.folder in finished
        seconds = 0.0 if done else pace.seconds([cell]) or costs.seconds(cell)
        disk = 0 if done else costs.disk(cell)
        yield CellEstimate(
            cell=cell, seconds=seconds, memory=costs.memory(cell), disk=disk, finished=done
        )


class _Costs:
    """What cells take, by networks that are measured once.

    Args:
        settings: The study.
        out: Its folder.
        root: Folder that relative paths start from.
        threads: Of each worker.
    """

    def __init__(self, settings: StudySettings, out: Path, root: Path, threads: int) -> None:
        self._settings, self._out, self._root = settings, out, root
        self._cores = cores_worth(evaluation_device(), threads)
        self._open = cache(self._open_data)
        # Settings are typed and checked anew each time, which takes longer than all else here.
        self._pretraining = cache(partial(_pretraining, settings))
        self._tuning = cache(partial(finetune_settings, settings))

    def seconds(self, cell: StudyCell) -> float | None:
        """Seconds of a cell, None where its store is not there yet."""
        opened = self._open(cell.data)
        if opened is None or cell.kind == "prepare":
            return None
        store, split = opened
        cost, study = self._cost(cell, store), self._settings
        if cell.kind == "pretrain":
            chosen = self._pretraining(cell.data, cell.arm)
            images = len(store.rows("train" if chosen.images == "train" else None))
            steps = chosen.total_steps(images)
            return steps * step_seconds(cost, chosen.batch_size) / self._cores
        if cell.kind == "full":
            tuning = self._tuning(cell.data, "full")
            combinations = math.prod(map(len, study.protocols["full"].grid.values()))
            labels = math.ceil((cell.fraction or 1) * split["train"])
            once = tuning_seconds(tuning, cost, labels, split["val"], split["test"])
            return combinations * once / self._cores + _OVERHEAD_SECONDS
        if cell.kind == "reuse":
            looks = 3 * split["test"] * cost.inference_seconds
            return looks / self._cores + 5 * _OVERHEAD_SECONDS
        # Features are extracted once for an encoder and kept.
        sharing = len(study.fractions)
        if "frozen" in study.protocols:
            sharing = sum(study.num_draws("frozen", fraction) for fraction in study.fractions)
        looks = sum(split.values()) * cost.inference_seconds
        return looks / sharing / self._cores + _OVERHEAD_SECONDS

    def memory(self, cell: StudyCell) -> float:
        """Bytes that a cell holds at the most, 0 where its store is not there yet."""
        opened = self._open(cell.data)
        if opened is None or cell.kind == "prepare":
            return 0
        cost = self._cost(cell, opened[0])
        if cell.kind == "pretrain":
            batch = self._pretraining(cell.data, cell.arm).batch_size
            # Two encoders, gradients, momentum.
            return _WORKER_BYTES + _training(cost, 4).expected(batch)
        if cell.kind == "full":
            batch = self._tuning(cell.data, "full").batch_size
            return _WORKER_BYTES + _training(cost, 7).expected(batch)
        return _WORKER_BYTES + cost.weight_bytes

    def disk(self, cell: StudyCell) -> int:
        """Bytes of a cell's folder, 0 where its store is not there yet."""
        opened = self._open(cell.data)
        if opened is None or cell.kind == "prepare":
            return 0
        weights = self._cost(cell, opened[0]).weight_bytes
        if cell.kind == "pretrain":
            chosen = self._pretraining(cell.data, cell.arm)
            keys = resolve_sizes(chosen, len(opened[0])).queue_size
            return disk_bytes(chosen, weights, keys)
        return (weights if cell.kind == "full" else 0) + SMALL_FILES

    def _cost(self, cell: StudyCell, store: Store) -> NetworkCost:
        """Of a cell's network at its size; features are extracted without mixed precision."""
        arm, study = self._settings.arms[cell.arm], self._settings
        protocol: FinetuneProtocol = next(iter(study.protocols))
        if cell.kind == "full" or cell.kind == "frozen":
            protocol = cell.kind
        tuning = self._tuning(cell.data, protocol)
        backbone, size = arm.backbone or study.backbone, tuning.image_size
        precision: Precision = tuning.precision if cell.kind == "full" else "fp32"
        if arm.recipe is not None:
            chosen = self._pretraining(cell.data, cell.arm)
            backbone, size = chosen.backbone, size or chosen.views.size
            precision = chosen.precision if cell.kind == "pretrain" else precision
        size = size or store.size
        return _measure(backbone, size, store.channels, precision)

    def _open_data(self, data: str) -> tuple[Store, dict[str, int]] | None:
        """A data set's store, and the labelled images of each split."""
        chosen = self._settings.data[data]
        try:
            store = open_store(store_path(self._settings, data, self._out, self._root))
            task = make_task(store, chosen.task, chosen.kind)
        except MedstrataError:
            if chosen.store is not None:
                raise
            return None
        return store, {split: len(labelled_rows(store, task, split)) for split in SPLITS}


def _pretraining(study: StudySettings, data: str, arm: str) -> PretrainSettings:
    chosen = pretrain_settings(study, data, arm, 0)
    assert chosen is not None
    return chosen


def _training(cost: NetworkCost, copies: int) -> TrainingMemory:
    return TrainingMemory(fixed=copies * cost.weight_bytes, image=cost.activation_bytes)


@cache
def _measure(backbone: str, size: int, channels: int, precision: Precision) -> NetworkCost:
    say(f"timing {backbone} at {size} pixels")
    return measure_cost(backbone, size, channels, _MEASURED_BATCH, make_accelerator(precision))
