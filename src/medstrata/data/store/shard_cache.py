"""Shards of remote stores on the local disk: fetched ahead, and evicted to stay within a limit."""

import atexit
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from medstrata.data.store.layout import shard_path
from medstrata.data.store.remote import Remote
from medstrata.runtime.errors import MedstrataError

DEFAULT_LIMIT = 50  # GB
_AHEAD = 3  # shards on their way for which there must be room beside those in use
_HEADER = 4096  # bytes; more than the header of a shard has


def cache_limit() -> int:
    """Bytes that the shards of all remote stores may take: $MEDSTRATA_CACHE_GB, else 50 GB.

    Raises:
        MedstrataError: the variable is not a number above 0.
    """
    text = os.environ.get("MEDSTRATA_CACHE_GB", str(DEFAULT_LIMIT))
    try:
        limit = int(float(text) * 1e9)
    except ValueError:
        limit = 0
    if limit <= 0:
        raise MedstrataError(f"MEDSTRATA_CACHE_GB is {text!r}: give a number of gigabytes above 0")
    return limit


class ShardCache:
    """The shards of one store that are on this machine.

    Of all processes of a machine one fetches at a time, with several requests at once; so none
    fetches what another has, and the limit holds for all of them together. Shards that have not
    been asked for for longest go first.

    Args:
        remote: Where shards come from.
        folder: Where the shards of this store are kept, in `cache_folder()`.
        sizes: Bytes of the pixels of each shard, by its number.
        limit: Bytes that shards may take on this machine.

    Raises:
        MedstrataError: the limit is below the largest shard.
    """

    def __init__(self, remote: Remote, folder: Path, sizes: Mapping[int, int], limit: int) -> None:
        self._remote, self._folder, self._sizes, self._limit = remote, folder, sizes, limit
        self._root = folder.parent.parent
        self._lock = self._root / "fetching.lock"
        self._changed = threading.Condition()
        self._expected: list[int] = []
        self._to_do: list[int] = []
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.check_room(1)

    def check_room(self, shards: int) -> None:
        """Raise MedstrataError where the limit is below so many shards and those on their way."""
        largest = max(self._sizes.values(), default=0) + _HEADER
        needed = min(shards + _AHEAD if shards > 1 else 1, len(self._sizes)) * largest
        if needed > self._limit:
            raise MedstrataError(
                f"the cache of {self._limit / 1e9:g} GB does not hold {shards} shards of "
                f"{largest / 1e9:.2g} GB and the next: set MEDSTRATA_CACHE_GB to "
                f"{needed / 1e9:.2g} or more, or lower --shuffle-shards"
            )

    def fetch(self, number: int) -> Path:
        """The file of a shard, whole; waits until it is there.

        Raises:
            MedstrataError: it cannot be fetched.
        """
        path = self._ensure(number, spared=())
        assert path is not None  # nothing was spared
        return path

    def expect(self, numbers: list[int]) -> None:
        """Fetch these shards in the background, in this order, and keep them till others are."""
        with self._changed:
            if set(numbers) == set(self._expected):
                return
            self._expected = numbers
            self._to_do = [number for number in numbers if not self._is_here(number)]
            for number in set(numbers) - set(self._to_do):
                self._touch(number)
            if self._thread is None:
                self._thread = threading.Thread(target=self._fetch_ahead, daemon=True)
                self._thread.start()
                atexit.register(self.close)
            self._changed.notify()

    def close(self) -> None:
        """Stop fetching ahead, at the latest after the requests under way."""
        self._stopping.set()
        with self._changed:
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _fetch_ahead(self) -> None:
        while True:
            with self._changed:
                while not self._to_do and not self._stopping.is_set():
                    self._changed.wait()
                if self._stopping.is_set():
                    return
                number, spared = self._to_do.pop(0), tuple(self._expected)
            try:
                here = self._ensure(number, spared)
            except (MedstrataError, OSError):
                here = None  # whoever needs the shard asks again, and tells of the failure
            if here is None:
                with self._changed:
                    self._to_do.clear()

    def _ensure(self, number: int, spared: tuple[int, ...]) -> Path | None:
        """Have a shard here; None where that would evict one of those to be spared."""
        path = shard_path(self._folder, number)
        while not self._is_here(number):
            try:
                with FileLock(self._lock, timeout=0.2, poll_interval=0.01):
                    if self._is_here(number):
                        break
                    if not self._make_room(self._sizes[number] + _HEADER, spared):
                        return None
                    least = self._sizes[number]
                    self._remote.download(path.name, path, least, self._stopping.is_set)
            except Timeout:  # another fetches; it may be this very shard
                if spared and self._stopping.is_set():
                    return None
        self._touch(number)
        return path

    def _is_here(self, number: int) -> bool:
        return shard_path(self._folder, number).is_file()

    def _touch(self, number: int) -> None:
        try:
            os.utime(shard_path(self._folder, number))
        except FileNotFoundError:
            return  # evicted by another process; whoever needs it fetches it again

    def _make_room(self, size: int, spared: tuple[int, ...]) -> bool:
        """Delete shards until there is room for so many bytes; the caller holds the lock.

        First go those that no reader here expects, the longest unused first, then those that are
        expected last.
        """
        for abandoned in self._root.glob("*/*/.images-*.tmp"):
            abandoned.unlink(missing_ok=True)
        place = {shard_path(self._folder, other): n for n, other in enumerate(self._expected)}
        kept = {shard_path(self._folder, other) for other in spared}
        shards = [(path, path.stat()) for path in self._root.glob("*/*/images-*.npy")]
        total = sum(status.st_size for _, status in shards)
        shards.sort(key=lambda each: (place.get(each[0], len(place)), -each[1].st_mtime))
        while total + size > self._limit:
            if not shards or shards[-1][0] in kept:
                return False
            path, status = shards.pop()
            path.unlink(missing_ok=True)
            total -= status.st_size
        return True
