"""What a study will take, before it runs: its cells, time and disk."""

import math
import time
from functools import cache, partial
from pathlib import Path

import torch

from medstrata.data.labels import make_task
from medstrata.data.splits import labelled_rows
from medstrata.data.store.open import open_store
from medstrata.data.store.store import SPLITS, Store
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.models.backbones import Backbone, Features, create_backbone
from medstrata.models.cpu_convolutions import replace_convolutions
from medstrata.pretraining.sizing import resolve_sizes
from medstrata.runtime.console import duration, say
from medstrata.runtime.devices import device_name, make_accelerator
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.precision import Precision
from medstrata.runtime.process_state import preserve_process_state
from medstrata.studies.cell_settings import finetune_settings, pretrain_settings
from medstrata.studies.ledger import Ledger
from medstrata.studies.plan import StudyCell, input_digests, plan, store_path
from medstrata.studies.progress import CellDurations
from medstrata.studies.settings import StudySettings

_FLOAT = 4  # bytes
_TIMED_BATCH = 16
# A fit, an interval and the writing of a run folder.
_OVERHEAD_SECONDS = 2.0
_SMALL_FILES = 200_000  # bytes of a run folder without weights


@preserve_process_state()
def describe(settings: StudySettings, out: Path, root: Path, jobs: int) -> str:
    """List the cells of a study with an estimate of time and disk; nothing is run or written.

    Finished cells of the same study tell how long their like take; for the others each network is
    timed for a moment on this machine.

    Args:
        settings: The study.
        out: Its folder; need not exist.
        root: Folder that relative paths start from.
        jobs: Cells that run at a time.

    Returns:
        Lines of text.
    """
    cells, ledger = plan(settings, input_digests(settings, root)), Ledger(out)
    pace = CellDurations()
    waiting = {}
    for cell in cells:
        if not ledger.finished(cell):
            waiting[cell.folder] = cell
        elif (result := ledger.result(cell)) is not None:
            pace.add(cell, float(result["seconds"]))
    costs = _Costs(settings, out, root)
    times: list[float | None] = []
    lines = []
    for cell in cells:
        if cell.folder in waiting:
            seconds = pace.seconds([cell]) or costs.seconds(cell)
            times.append(seconds)
            state = "unknown" if seconds is None else f"about {duration(seconds)}"
        else:
            state = "finished"
        lines.append(f"{cell.folder:<60} {state}")
    total = sum(seconds for seconds in times if seconds is not None) / jobs
    space = sum(costs.bytes(cell) for cell in waiting.values())
    unknown = sum(1 for seconds in times if seconds is None)
    later = (
        f"; {unknown} cells cannot be estimated before their data are prepared" if unknown else ""
    )
    lines.append(
        f"{len(cells)} cells, {len(waiting)} to run, {jobs} at a time: about {duration(total)} and "
        f"{space / 2**30:.1f} GiB on {device_name(make_accelerator('auto').device)}{later}"
    )
    return "\n".join(lines) + "\n"


class _Costs:
    def __init__(self, settings: StudySettings, out: Path, root: Path) -> None:
        self._settings, self._out, self._root = settings, out, root
        self._open = cache(self._opened)
        # What a cell takes is the same for every seed.
        self._pretraining = cache(partial(pretrain_settings, settings, seed=0))
        self._tuning = cache(partial(finetune_settings, settings, protocol="full"))
        self._speed, self._parameters = cache(_speed), cache(_parameters)

    def seconds(self, cell: StudyCell) -> float | None:
        """Seconds of a cell, None where its store is not there yet."""
        opened = self._open(cell.data)
        if opened is None or cell.kind == "prepare":
            return None
        store, split = opened
        train, forward = self._speed(
            self._backbone(cell), store.size, store.channels, self._precision(cell)
        )
        if cell.kind == "pretrain":
            chosen = self._pretraining(cell.data, cell.arm)
            assert chosen is not None
            images = len(store) if chosen.images == "all" else len(store.rows("train"))
            # Views and the key encoder: one more pass without gradients.
            return chosen.total_steps(images) * chosen.batch_size * (train + forward)
        if cell.kind == "full":
            tuning = self._tuning(cell.data)
            combinations = math.prod(map(len, self._settings.protocols["full"].grid.values()))
            shown = _steps(tuning, (cell.fraction or 1) * split["train"]) * tuning.batch_size
            looked = split["val"] * (tuning.epochs + 1) + split["test"]
            once = tuning.epochs * shown * train + looked * forward
            return combinations * once + _OVERHEAD_SECONDS
        if cell.kind == "reuse":
            return 3 * split["test"] * forward + 5 * _OVERHEAD_SECONDS
        # Features are extracted once for an encoder and kept.
        settings = self._settings
        sharing = len(settings.fractions)
        if "frozen" in settings.protocols:
            sharing = sum(settings.num_draws("frozen", fraction) for fraction in settings.fractions)
        return sum(split.values()) * forward / sharing + _OVERHEAD_SECONDS

    def bytes(self, cell: StudyCell) -> int:
        """Disk space of a cell, 0 where its store is not there yet."""
        opened = self._open(cell.data)
        if opened is None or cell.kind == "prepare":
            return 0
        weights = self._parameters(self._backbone(cell)) * _FLOAT
        if cell.kind == "pretrain":
            chosen = self._pretraining(cell.data, cell.arm)
            assert chosen is not None
            keys = resolve_sizes(chosen, len(opened[0])).queue_size
            queue = keys * chosen.contrastive.head_size * _FLOAT
            # Both encoders and the optimizer's momentum in each checkpoint, then the export.
            return chosen.keep_checkpoints * (3 * weights + queue) + weights + _SMALL_FILES
        return (weights if cell.kind == "full" else 0) + _SMALL_FILES

    def _backbone(self, cell: StudyCell) -> str:
        chosen = self._pretraining(cell.data, cell.arm)
        arm = self._settings.arms[cell.arm]
        return chosen.backbone if chosen else arm.backbone or self._settings.backbone

    def _precision(self, cell: StudyCell) -> Precision:
        if cell.kind == "full":
            return self._tuning(cell.data).precision
        chosen = self._pretraining(cell.data, cell.arm)
        # Features are extracted without mixed precision.
        return chosen.precision if cell.kind == "pretrain" and chosen else "fp32"

    def _opened(self, data: str) -> tuple[Store, dict[str, int]] | None:
        """A store and its labelled images in each split, None where it is not there yet."""
        chosen = self._settings.data[data]
        try:
            store = open_store(store_path(self._settings, data, self._out, self._root))
            task = make_task(store, chosen.task, chosen.kind)
        except MedstrataError:
            if chosen.store is not None:
                raise
            return None
        return store, {split: len(labelled_rows(store, task, split)) for split in SPLITS}


def _steps(settings: FinetuneSettings, images: float) -> int:
    return max(settings.min_steps, math.ceil(images / settings.batch_size))


def _speed(backbone: str, size: int, channels: int, precision: Precision) -> tuple[float, float]:
    """Seconds an image of a training step and of a forward pass, the quicker of two tries."""
    say(f"timing {backbone} at {size} pixels")
    accelerator = make_accelerator(precision)
    network = create_backbone(backbone, in_channels=channels, image_size=size)
    network = network.to(accelerator.device).to(memory_format=torch.channels_last)
    replace_convolutions(accelerator, network)
    images = torch.rand(_TIMED_BATCH, channels, size, size, device=accelerator.device)

    def step(learning: bool) -> float:
        started = time.perf_counter()
        with accelerator.autocast(), torch.set_grad_enabled(learning):
            features: Features = network(images)
            loss = features.pooled.float().square().mean()
        if learning:
            loss.backward()
        if accelerator.device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / _TIMED_BATCH

    return min(step(True) for _ in range(2)), min(step(False) for _ in range(2))


def _parameters(backbone: str) -> int:
    network: Backbone = create_backbone(backbone, in_channels=3, image_size=224)
    return sum(parameter.numel() for parameter in network.parameters())
