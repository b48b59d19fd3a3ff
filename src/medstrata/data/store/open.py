"""Open a store, wherever it lies."""

from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from medstrata.data.store.layout import checksum, shard_path
from medstrata.data.store.remote import Remote
from medstrata.data.store.shard_cache import ShardCache, cache_limit
from medstrata.data.store.store import FORMAT, Store
from medstrata.runtime.cache_folder import cache_folder
from medstrata.runtime.documents import parse_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text


def open_store(location: Path | str) -> Store:
    """Open a store that `prepare` has made.

    Args:
        location: Its folder, or an address such as `s3://bucket/cxr.store` to which
            `medstrata push` has put it.

    Returns:
        The store, its pixels memory-mapped; shards in object storage are fetched when they are
        needed.

    Raises:
        MedstrataError: there is no store, or it is unfinished, damaged or of another format; an
            address cannot be reached.
    """
    where = str(location).rstrip("/")
    try:
        opened = _open_remote(where) if is_address(location) else _open_folder(Path(location))
        store, header = opened
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(where, f"{type(error).__name__}: {error}") from error
    # Stores of earlier versions have none.
    kept = header.get("checksum")
    if kept is not None and kept != checksum(header, store.path / "manifest.parquet"):
        raise _damaged(where, "store.json or manifest.parquet is not what was written")
    if len(store) != sum(rows for _, rows in header["shards"]):
        raise _damaged(where, "manifest and shards differ in their number of images")
    return store


def is_address(location: Path | str) -> bool:
    """Whether this names a place in object storage and not a folder."""
    return isinstance(location, str) and "://" in location


def _open_folder(path: Path) -> tuple[Store, dict[str, Any]]:
    """A store and its header; shards that are missing or cut are found by their size alone."""
    if not (path / "store.json").is_file():
        if (path / "parts").is_dir():
            raise MedstrataError(f"{path} is unfinished: run the same prepare command again")
        if (path / "manifest.parquet").is_file():
            raise _damaged(str(path), "store.json is missing")
        raise MedstrataError(f"{path} is not a store: make one with `medstrata prepare`")
    header = _read_header((path / "store.json").read_bytes(), str(path))
    for number, size in _shard_sizes(header).items():
        shard = shard_path(path, number)
        if not shard.is_file() or shard.stat().st_size < size:
            raise _damaged(str(path), f"{shard.name} is missing or cut short")
    return Store(path, header), header


def _open_remote(address: str) -> tuple[Store, dict[str, Any]]:
    remote = Remote(address)
    try:
        text = remote.read("store.json")
    except FileNotFoundError as error:
        raise MedstrataError(
            f"{address} is not a store: put one there with `medstrata push STORE {address}`"
        ) from error
    header = _read_header(text, address)
    key = blake2b(f"{address} {header['digest']}".encode(), digest_size=8).hexdigest()
    folder = cache_folder() / "remote" / key / address.rpartition("/")[2]
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.parquet"
    if not manifest.is_file():
        remote.download(manifest.name, manifest)
    if not (folder / "audit.json").is_file():
        with suppress(FileNotFoundError):  # a store pushed without one
            write_text(folder / "audit.json", remote.read("audit.json").decode())
    cache = ShardCache(remote, folder, _shard_sizes(header), cache_limit())
    return Store(folder, header, files=cache, location=address), header


def _read_header(text: bytes, location: str) -> dict[str, Any]:
    header = dict(parse_json(text))
    if header["format"] != FORMAT:
        raise MedstrataError(
            f"{location} has store format {header['format']}, this version reads {FORMAT}: "
            "prepare it again with --overwrite"
        )
    return header


def _shard_sizes(header: dict[str, Any]) -> dict[int, int]:
    """Bytes of the pixels of each shard, by its number."""
    image = header["size"] ** 2 * header["channels"] * header["bits"] // 8
    return {number: rows * image for number, rows in header["shards"]}


def _damaged(location: str, what: str) -> MedstrataError:
    line = " ".join(what.split())
    return MedstrataError(f"{location} is damaged ({line}): prepare it again with --overwrite")
