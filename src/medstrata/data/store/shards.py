"""The pixels of a store: memory-mapped arrays, a file each, wherever these files come from.

Legend: N samples, C channels, H W height and width.
"""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.store.layout import shard_path
from medstrata.data.store.shard_cache import ShardCache

_OPEN_SHARDS = 512  # each holds a file descriptor, of which many systems allow 1024


class Shards:
    """The images of some shards, a read-only view of a file each; threads may share it.

    Args:
        folder: Where the shards lie; of fetched ones, where they are put.
        shard: Shard of each sample, shape (N,).
        shard_row: Its row there, shape (N,).
        files: Fetches shards that are not in the folder; None when all are.
    """

    def __init__(
        self,
        folder: Path,
        shard: NDArray[np.int32],
        shard_row: NDArray[np.int32],
        files: ShardCache | None = None,
    ) -> None:
        self._folder, self._files = folder, files
        self._shard, self._shard_row = shard, shard_row
        self._mapped: dict[int, NDArray[Any]] = {}
        self._mapping = threading.Lock()

    def __getitem__(self, row: int) -> NDArray[Any]:
        """The pixels of one sample, shape (H, W, C)."""
        number = int(self._shard[row])
        pixels = self._mapped.get(number)
        if pixels is None:
            pixels = self._map(number)
        image: NDArray[Any] = pixels[self._shard_row[row]]
        return image

    def _map(self, number: int) -> NDArray[Any]:
        # Not under the lock: fetching may take long, and other threads need other shards.
        # A plain array over the same memory: slicing a memmap costs ten times as much.
        pixels = self._load(number).view(np.ndarray)
        with self._mapping:
            if self._files is not None:
                # What was evicted from the disk takes room there for as long as it is mapped.
                evicted = [n for n in self._mapped if not shard_path(self._folder, n).exists()]
                for other in evicted:
                    del self._mapped[other]
            while len(self._mapped) >= _OPEN_SHARDS:
                del self._mapped[next(iter(self._mapped))]
            self._mapped[number] = pixels
        return pixels

    def _load(self, number: int) -> NDArray[Any]:
        if self._files is None:
            local: NDArray[Any] = np.load(shard_path(self._folder, number), mmap_mode="r")
            return local
        while True:
            try:
                fetched: NDArray[Any] = np.load(self._files.fetch(number), mmap_mode="r")
            except FileNotFoundError:  # another process made room between the two
                continue
            return fetched
