"""Trains a small encoder, here or in a process of its own that kills itself at a named point.

As a program: `python training_worker.py OUT STORE BACKBONE PRECISION SHARDS [END]`. SHARDS of 0
shuffles as by default. END is `record:N`, right after the N-th record was written; `checkpoint:N`,
when half of the N-th checkpoint was; or `again`, which trains once more when it is done.
"""

import os
import signal
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from medstrata.data.store.open import open_store
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe
from medstrata.runs import checkpoints
from medstrata.runs.metrics_log import MetricsLog


def train(
    out: Path,
    store: Path | str,
    backbone: str = "test_resnet",
    precision: str = "auto",
    shards: int = 0,
) -> None:
    """Train, or go on, with sums in one thread: only then are two runs equal bit for bit."""
    settings = recipe(
        "fair/moco_bt",
        backbone=backbone,
        epochs=4,
        batch_size=8,
        precision=precision,
        checkpoint_every=2,
        contrastive={"queue_size": 20},
        intermediate={"projector_size": 16},
        shuffle_shards=shards or None,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pretrain(open_store(store), settings, out, resume=True)
    finally:
        torch.set_num_threads(threads)


def kill_after(calls: int, work: Callable[..., Any], halfway: Callable[..., Any]) -> Any:
    """`work`, but for the call of that number, which is `halfway` and the end of the process."""
    done = 0

    def counted(*given: Any, **named: Any) -> Any:
        nonlocal done
        done += 1
        if done < calls:
            return work(*given, **named)
        halfway(*given, **named)
        return os.kill(os.getpid(), signal.SIGKILL)

    return counted


def save_half(state: Any, path: Path) -> None:
    whole = BytesIO()
    torch_save(state, whole)
    path.write_bytes(whole.getvalue()[: whole.tell() // 2])


torch_save = torch.save


def main() -> None:
    out, store, backbone, precision, shards, *ends = sys.argv[1:]
    again = ends == ["again"]
    if ends and not again:
        where, _, number = ends[0].partition(":")
        if where == "record":
            MetricsLog.write = kill_after(int(number), MetricsLog.write, MetricsLog.write)  # type: ignore[method-assign]
        else:
            checkpoints.torch.save = kill_after(int(number), torch_save, save_half)  # type: ignore[attr-defined]
    for _ in range(2 if again else 1):
        train(Path(out), store, backbone, precision, int(shards))


if __name__ == "__main__":
    main()
