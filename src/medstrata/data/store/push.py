"""Putting a store into object storage, whole or not at all."""

import json
from pathlib import Path

from medstrata.data.store.layout import FILES
from medstrata.data.store.open import is_address, open_store
from medstrata.data.store.remote import Remote
from medstrata.runtime.console import progress_bar, say
from medstrata.runtime.documents import parse_json
from medstrata.runtime.errors import MedstrataError

_BEGUN = "unfinished.json"  # there while a store is being put; names it


def push(store: Path | str, address: str, *, overwrite: bool = False) -> None:
    """Copy a store to an address, from where it can be opened.

    Started again after an interruption it goes on after the last whole file. `store.json` is
    written last, so that nothing half-written can be opened.

    Args:
        store: Its folder.
        address: Such as `s3://bucket/cxr.store`; the bucket exists.
        overwrite: Replace another store there.

    Raises:
        MedstrataError: there is no such store, another one lies there, or it cannot be written.
    """
    if is_address(store) or not is_address(address):
        raise MedstrataError(
            f"push takes a folder and an address such as s3://bucket/cxr.store, not {store} and "
            f"{address}"
        )
    folder, digest = Path(store), open_store(store).digest
    remote = Remote(address, create=True)
    there = _digest(remote, "store.json")
    if there == digest:
        say(f"{remote.address} holds this store already; nothing to do")
        return
    if there is not None:
        if not overwrite:
            raise MedstrataError(
                f"{remote.address} holds another store: give --overwrite to replace it, or another "
                "address"
            )
        remote.delete("store.json")
    goes_on = _digest(remote, _BEGUN) == digest
    if not goes_on:
        remote.upload(json.dumps({"digest": digest}).encode(), _BEGUN)
    files = sorted(path for pattern in FILES for path in folder.glob(pattern))
    total = sum(path.stat().st_size for path in files)
    with progress_bar() as bar:
        task = bar.add_task("push, MB", total=-(-total // 10**6))
        done = 0
        for path in files:
            size = path.stat().st_size
            # Objects are written whole or not at all, so one of this size is this one.
            if not (goes_on and remote.size(path.name) == size):
                remote.upload(path, path.name)
            done += size
            bar.update(task, completed=done // 10**6)
    remote.upload(folder / "store.json", "store.json")
    remote.delete(_BEGUN)
    say(f"{len(files) + 1} files, {total / 1e6:,.0f} MB, in {remote.address}")


def _digest(remote: Remote, name: str) -> str | None:
    """The digest that a JSON file there names; None where there is no such file."""
    try:
        text = remote.read(name)
    except FileNotFoundError:
        return None
    try:
        return str(parse_json(text)["digest"])
    except (ValueError, KeyError, TypeError):
        return ""
