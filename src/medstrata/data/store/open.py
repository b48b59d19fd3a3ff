"""Open a store, wherever it lies."""

from pathlib import Path
from typing import Any

from medstrata.data.store.remote import open_remote
from medstrata.data.store.shards import shard_path
from medstrata.data.store.store import Store, checked, damaged, read_header
from medstrata.runtime.errors import MedstrataError


def open_store(location: Path | str) -> Store:
    """Open a store that `prepare` has made.

    Args:
        location: Its folder, or an address such as `s3://bucket/cxr.store` to which
            `medstrata push` has put it.

    Returns:
        The store, its pixels memory-mapped.

    Raises:
        MedstrataError: there is no store, or it is unfinished, damaged or of another format; an
            address cannot be reached.
    """
    if is_address(location):
        return open_remote(str(location))
    path = Path(location)
    if not (path / "store.json").is_file():
        if (path / "parts").is_dir():
            raise MedstrataError(f"{path} is unfinished: run the same prepare command again")
        raise MedstrataError(f"{path} is not a store: make one with `medstrata prepare`")
    try:
        header = read_header((path / "store.json").read_bytes(), str(path))
        _check_shards(path, header)
        return checked(Store(path, header), header)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise damaged(str(path), f"{type(error).__name__}: {error}") from error


def is_address(location: Path | str) -> bool:
    """Whether this names a place in object storage and not a folder."""
    return isinstance(location, str) and "://" in location


def _check_shards(path: Path, header: dict[str, Any]) -> None:
    """Find missing and cut shards by their size alone, so that opening stays quick."""
    for number, rows in header["shards"]:
        shard = shard_path(path, number)
        wanted = rows * header["size"] ** 2 * header["channels"] * header["bits"] // 8
        if not shard.is_file() or shard.stat().st_size < wanted:
            raise damaged(str(path), f"{shard.name} is missing or cut short")
