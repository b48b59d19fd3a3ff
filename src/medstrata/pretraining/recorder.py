"""From the losses of a run to its metrics, its progress bar and its words of warning."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from rich.progress import Progress, TextColumn
from torch import Tensor

from medstrata.data.loader import Prefetched
from medstrata.pretraining.build import Training
from medstrata.pretraining.moco import Loss
from medstrata.runs.checkpoints import checkpoints
from medstrata.runs.metrics_log import MetricsLog, read_metrics
from medstrata.runs.trackers import Track
from medstrata.runtime.console import progress_bar, warn
from medstrata.runtime.errors import MedstrataError

_RECORD_EVERY = 10  # steps whose losses are read back from the device at once
_AVERAGED = ("loss", "contrastive", "positive_similarity", "negative_similarity")


class Recorder:
    """Reads losses back from the device now and then, writes metrics, moves the progress bar.

    Losses wait on the device so that no step stops for them; a step whose loss is not finite is
    found, by its number, at the next reading and always before a checkpoint is written.

    Args:
        training: What is trained, at the step it starts or goes on from.
        metrics_length: Bytes of metrics.jsonl that the steps before wrote.
        track: Sends the numbers of each record to trackers.

    Attributes:
        epochs: The record of each epoch, of earlier parts of the run too; in the main process.
    """

    def __init__(self, training: Training, metrics_length: int, track: Track) -> None:
        self._training, self._batch_size = training, training.settings.batch_size
        self._main = training.accelerator.is_main_process
        self._metrics: MetricsLog | None = None
        self._bar: Progress | None = None
        self._waiting: list[tuple[dict[str, Any], Tensor]] = []
        epoch = training.step // training.loader.steps_per_epoch
        records = self._recorded("step", metrics_length)
        if self._main and training.step != (records[-1]["step"] if records else 0):
            raise MedstrataError(
                f"{training.folder / 'metrics.jsonl'} does not end at step {training.step}, where "
                "the checkpoint is; put the file back, or redo the run with --overwrite"
            )
        self._epoch_records = [record for record in records if record["epoch"] == epoch]
        self.epochs = self._recorded("epoch", metrics_length)
        if self._main:
            self._metrics = MetricsLog(training.folder, length=metrics_length, track=track)
            self._bar = _make_bar(training.folder.name, training.resolved.steps, training.step)
        self._clock, self._waited = time.perf_counter(), 0.0
        self._batches: Prefetched | None = None

    def __enter__(self) -> "Recorder":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._metrics is not None:
            self._metrics.close()

    def _recorded(self, event: str, length: int) -> list[dict[str, Any]]:
        path = self._training.folder / "metrics.jsonl"
        there = self._main and path.is_file()
        return list(read_metrics(path, event, length)) if there else []

    @property
    def length(self) -> int:
        """Bytes of metrics.jsonl."""
        return self._metrics.length if self._metrics else 0

    def add(self, step: int, epoch: int, loss: Loss, lr: float, batches: Prefetched) -> None:
        """Keep a step's numbers, on the device.

        Args:
            step: How many steps there have been with it.
            epoch: Which epoch it belongs to, from 0.
            loss: Of this process' part of the batch.
            lr: The learning rate it was made with.
            batches: Counts how long steps wait for their images.
        """
        self._batches = batches
        record: dict[str, Any] = {"event": "step", "step": step, "epoch": epoch, "lr": lr}
        record["stages"] = {
            stage: list(one.diagnostics) for stage, one in loss.intermediate.items()
        }
        values = [
            loss.total.detach(),
            loss.contrastive,
            loss.positive_similarity,
            loss.negative_similarity,
        ]
        for one in loss.intermediate.values():
            values += [one.loss.detach(), *one.diagnostics.values()]
        self._waiting.append((record, torch.stack(values)))
        if len(self._waiting) == _RECORD_EVERY:
            self.flush()

    def flush(self) -> None:
        """Read the waiting losses, check them, write them.

        Raises:
            MedstrataError: a loss is not finite.
        """
        if not self._waiting:
            return
        table = torch.stack([values for _, values in self._waiting])
        # The mean over processes; each holds an equal share of the batch.
        rows = self._training.accelerator.reduce(table, reduction="mean").cpu().tolist()
        elapsed = time.perf_counter() - self._clock
        waited = self._batches.waited_s if self._batches else 0.0
        speed = {
            "samples_per_s": len(rows) * self._batch_size / elapsed,
            "data_wait": (waited - self._waited) / elapsed,
        }
        for (record, _), values in zip(self._waiting, rows, strict=True):
            full = _step_record(record, values, speed)
            self._check(full)
            self._epoch_records.append(full)
            if self._metrics is not None:
                self._metrics.write(full)
        self._waiting.clear()
        self._clock = time.perf_counter()
        self._waited = waited
        if self._bar is not None:
            self._bar.update(
                self._bar.task_ids[0], completed=full["step"], numbers=_bar_numbers(full)
            )

    def _check(self, record: Mapping[str, Any]) -> None:
        if np.isfinite(record["loss"]):
            return
        before = self._epoch_records[-1] if self._epoch_records else None
        last = f"{before['loss']:.4g} at step {before['step']}" if before else "none"
        what = f"loss is {record['loss']} at step {record['step']} (last finite: {last})"
        raise _diverged(self._training, what)

    def end_epoch(self, epoch: int) -> None:
        """Average the epoch, look at the encoder, warn in words, write the record."""
        self.flush()
        started = time.perf_counter()
        if self._metrics is not None:
            record = self._epoch_record(epoch)
            for message in record["warnings"]:
                warn(f"epoch {epoch + 1}: {message}")
            record["time"]["monitor_seconds"] = time.perf_counter() - started
            self._metrics.write(record)
            self.epochs.append(record)
        self._epoch_records.clear()
        self._clock, self._waited = time.perf_counter(), 0.0
        self._training.accelerator.wait_for_everyone()

    def _looked_at(self, epoch: int) -> dict[str, object]:
        try:
            return self._training.monitor.evaluate(self._training.monitored_backbone)
        except FloatingPointError as error:
            raise _diverged(self._training, f"{error} after epoch {epoch + 1}") from error

    def _epoch_record(self, epoch: int) -> dict[str, Any]:
        records = self._epoch_records
        taken = [self._batch_size / r["time"]["samples_per_s"] for r in records]
        seconds = sum(taken)
        return {
            "event": "epoch",
            "epoch": epoch,
            "step": records[-1]["step"],
            **{name: _mean(records, name) for name in _AVERAGED},
            "intermediate": {
                stage: float(np.mean([r["intermediate"][stage] for r in records]))
                for stage in records[0]["intermediate"]
            },
            **self._looked_at(epoch),
            "time": {
                "seconds": seconds,
                "samples_per_s": len(records) * self._batch_size / seconds,
                "data_wait": float(
                    np.average([r["time"]["data_wait"] for r in records], weights=taken)
                ),
            },
        }


def _diverged(training: Training, what: str) -> MedstrataError:
    """The error for a run that is beyond mending, with the ways that are left."""
    rate = f"a lower --optimizer.lr than {training.settings.optimizer.lr:g}"
    saved = checkpoints(training.folder / "checkpoints")
    good = f"--weights {saved[-1]} and {rate} in another --out, or " if saved else ""
    return MedstrataError(
        f"{what}: look at the images, and go on with {good}{rate} and --overwrite"
    )


def _mean(records: list[dict[str, Any]], name: str) -> float:
    return float(np.mean([record[name] for record in records]))


def _step_record(
    record: dict[str, Any], values: list[float], speed: Mapping[str, float]
) -> dict[str, Any]:
    stages = record.pop("stages")
    full = {**record, **dict(zip(_AVERAGED, values[:4], strict=True)), "intermediate": {}}
    rest = iter(values[4:])
    diagnostics = {}
    for stage, names in stages.items():
        full["intermediate"][stage] = next(rest)
        diagnostics[stage] = {name: next(rest) for name in names}
    return {**full, "diagnostics": diagnostics, "time": dict(speed)}


def _make_bar(name: str, steps: int, done: int) -> Progress:
    bar = progress_bar(TextColumn("{task.fields[numbers]}"))
    bar.add_task(f"pre-training {name}", total=steps, completed=done, numbers="")
    return bar


def _bar_numbers(record: Mapping[str, Any]) -> str:
    speed = record["time"]
    return (
        f"epoch {record['epoch'] + 1}  loss {record['loss']:.3f}  "
        f"{speed['samples_per_s']:.0f} samples/s  data wait {speed['data_wait']:.0%}"
    )
