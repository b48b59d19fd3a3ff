"""Batches of views, made while the last step runs.

The order is a function of (seed, epoch), each view of (seed, epoch, sample number, view): it does
not matter how many threads or processes there are, nor where a run was cut.
"""

import queue
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medstrata.data.store.store import Store
from medstrata.data.view_settings import ViewSettings
from medstrata.data.views import make_views
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.randomness import Stream, permutation, windowed_permutation
from medstrata.runtime.threads import image_threads


class Batch(NamedTuple):
    """Views of the same images in the same order, on the device."""

    views: tuple[Tensor, ...]  # uint8, each (B, H, W, C)
    ids: Tensor  # sample numbers, (B,)
    copied: torch.cuda.Event | None = None  # on a GPU, happens once the batch has arrived there


def _start_copy(stream: torch.cuda.Stream, batch: Batch) -> Batch:
    """Begin to copy to a GPU beside its step; the result may be used after `_wait_for_copy`."""
    # The context also makes the device current, which a new thread has yet to choose.
    with torch.cuda.stream(stream):
        # From pinned memory the copy needs no processor; the allocator keeps it till then.
        device = stream.device
        views = tuple(view.pin_memory().to(device, non_blocking=True) for view in batch.views)
        ids = batch.ids.pin_memory().to(device, non_blocking=True)
        return Batch(views, ids, stream.record_event())


BatchGenerator = Generator[Batch, None, None]


def _start_copies(stream: torch.cuda.Stream, batches: BatchGenerator) -> BatchGenerator:
    with closing(batches):
        for batch in batches:
            yield _start_copy(stream, batch)


def _wait_for_copy(batch: Batch) -> None:
    """Let the consumer's stream wait for this batch; the consumer itself goes on at once."""
    if batch.copied is None:
        return
    consumer = torch.cuda.current_stream(batch.ids.device)
    consumer.wait_event(batch.copied)
    for tensor in (*batch.views, batch.ids):
        # Memory of the copying stream, not to be filled anew before the consumer has read it.
        tensor.record_stream(consumer)


@dataclass(frozen=True, kw_only=True)
class Loader:
    """Makes batches from a store.

    Attributes:
        store: Where the pixels are.
        rows: Sample numbers to draw from, shape (N,).
        settings: How views are made.
        batch_size: Images a batch over all processes.
        views: Views of each image.
        seed: Decides order and views.
        device: Where batches are put.
        rank: This process.
        world_size: Processes; each gets an equal, contiguous part of every batch.
        shuffle_shards: Shards that are mixed at a time; None mixes all images.
    """

    store: Store
    rows: NDArray[np.int64]
    settings: ViewSettings
    batch_size: int
    views: int
    seed: int
    device: torch.device
    rank: int = 0
    world_size: int = 1
    shuffle_shards: int | None = None

    def __post_init__(self) -> None:
        self.store.check_room(self.shuffle_shards or 1)
        if self.batch_size > len(self.rows):
            raise MedstrataError(
                f"batch size {self.batch_size} is larger than the {len(self.rows)} images to train "
                "on; give a smaller --batch-size"
            )
        if self.batch_size % self.world_size:
            raise MedstrataError(
                f"batch size {self.batch_size} cannot be divided over {self.world_size} processes"
            )

    @cached_property
    def _copy_stream(self) -> torch.cuda.Stream:
        """One for all epochs: memory is kept for each stream, and would grow with their number."""
        return torch.cuda.Stream(self.device)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in one pass; images left over come first in another pass's order."""
        return len(self.rows) // self.batch_size

    def batch_rows(self, epoch: int, step: int) -> NDArray[np.int64]:
        """Sample numbers of this process's part of a batch; step counts from the epoch's start."""
        return self._part(self._ordered(epoch)[step * self.batch_size :][: self.batch_size])

    def _ordered(self, epoch: int) -> NDArray[np.int64]:
        if self.shuffle_shards is None:
            return self.rows[permutation(len(self.rows), Stream.BATCH_ORDER, self.seed, epoch)]
        shards = self.store.shards[self.rows]
        order = windowed_permutation(shards, self.shuffle_shards, self.seed, epoch)
        return self.rows[order]

    def _part(self, batch: NDArray[np.int64]) -> NDArray[np.int64]:
        share = self.batch_size // self.world_size
        return batch[self.rank * share :][:share]

    def epoch(self, epoch: int, first_step: int = 0) -> "Prefetched":
        """The batches of an epoch, from a step on, made ahead in the background."""
        batches = self.batches(epoch, first_step)
        if self.device.type == "cuda":
            batches = _start_copies(self._copy_stream, batches)
        return Prefetched(batches)

    def batches(self, epoch: int, first_step: int = 0) -> BatchGenerator:
        """As `epoch`, each made in the thread that asks for it, in host memory."""
        ordered = self._ordered(epoch)
        whole = ordered[: self.steps_per_epoch * self.batch_size]
        with image_threads() as executor:
            for batch in self.store.batches(whole, self.batch_size, first_step):
                rows = self._part(batch)
                pixels, _ = make_views(
                    self.store,
                    rows,
                    self.settings,
                    seed=self.seed,
                    epoch=epoch,
                    views=self.views,
                    executor=executor,
                )
                yield Batch(
                    tuple(torch.from_numpy(view) for view in pixels), torch.from_numpy(rows)
                )


class Prefetched(Iterator[Batch]):
    """Runs a generator in a thread, two batches ahead, and counts the time spent waiting for it.

    The generator is closed at its end, or when this is closed.

    Attributes:
        waited_s: Seconds that the consumer has waited.
    """

    def __init__(self, batches: BatchGenerator) -> None:
        self.waited_s = 0.0
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=2)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(batches,), daemon=True)
        self._thread.start()

    def _fill(self, batches: BatchGenerator) -> None:
        try:
            with closing(batches):
                for batch in batches:
                    if not self._offer(batch):
                        return
            self._offer(None)
        except BaseException as error:  # noqa: BLE001  (handed to the consumer, who raises it)
            self._offer(error)

    def _offer(self, item: Batch | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def __next__(self) -> Batch:
        start = time.perf_counter()
        item = self._ready.get()
        self.waited_s += time.perf_counter() - start
        if isinstance(item, Batch):
            _wait_for_copy(item)
            return item
        self.close()
        if item is None:
            raise StopIteration
        raise item

    def close(self) -> None:
        """Stop the thread; batches made ahead are dropped."""
        self._stop.set()
        self._thread.join()
