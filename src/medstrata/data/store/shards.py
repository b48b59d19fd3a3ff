"""The pixels of a store: memory-mapped arrays, a file each, wherever these files come from.

Legend: N samples, C channels, H W height and width.
"""

import threading
from mmap import mmap
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from medstrata.data.store.layout import shard_path
from medstrata.data.store.shard_cache import ShardCache
from medstrata.runtime.errors import MedstrataError

_OPEN_SHARDS = 512  # each holds a file descriptor, of which many systems allow 1024


class _Mapped(NamedTuple):
    """A shard in memory."""

    pixels: NDArray[Any]  # (N, H, W, C)
    file: mmap


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
        self._mapped: dict[int, _Mapped] = {}
        self._mapping = threading.Lock()

    def __getitem__(self, row: int) -> NDArray[Any]:
        """The pixels of one sample, shape (H, W, C).

        Raises:
            MedstrataError: its shard was cut short, at the latest while it was in use.
        """
        number = int(self._shard[row])
        mapped = self._mapped.get(number) or self._map(number)
        # The system kills who reads memory whose file is gone.
        if mapped.file.size() < len(mapped.file):
            raise self._cut(number)
        image: NDArray[Any] = mapped.pixels[self._shard_row[row]]
        return image

    def _cut(self, number: int) -> MedstrataError:
        return MedstrataError(
            f"{shard_path(self._folder, number)} is cut short or damaged: prepare the store again "
            "with --overwrite"
        )

    def _map(self, number: int) -> "_Mapped":
        # Not under the lock: fetching may take long, and other threads need other shards.
        # A plain array over the same memory: slicing a memmap costs ten times as much.
        try:
            loaded = self._load(number)
        except ValueError as error:
            raise self._cut(number) from error
        mapped = _Mapped(loaded.view(np.ndarray), cast(mmap, loaded.base))
        with self._mapping:
            if self._files is not None:
                # What was evicted from the disk takes room there for as long as it is mapped.
                evicted = [n for n in self._mapped if not shard_path(self._folder, n).exists()]
                for other in evicted:
                    del self._mapped[other]
            while len(self._mapped) >= _OPEN_SHARDS:
                del self._mapped[next(iter(self._mapped))]
            self._mapped[number] = mapped
        return mapped

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
