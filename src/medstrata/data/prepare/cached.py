"""Stores that the program makes by itself when it is given a folder of images."""

import hashlib
import os
import time
from pathlib import Path

from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.open import is_address, open_store
from medstrata.data.store.store import Store
from medstrata.runtime.cache_folder import cache_folder
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError


def open_or_prepare(source: Path | str) -> Store:
    """Open a store, or prepare a folder of images into the cache and open that.

    The cache is `$MEDSTRATA_CACHE`, else `~/.cache/medstrata`; a folder always goes to the same
    place there, and an unchanged one is not decoded twice.

    Raises:
        MedstrataError: there is nothing at `source`.
    """
    if is_address(source):
        return open_store(source)
    source = Path(source)
    if (source / "store.json").is_file():
        return open_store(source)
    if not source.exists():
        raise MedstrataError(f"{source} does not exist; give a store or a folder of images")
    place = hashlib.blake2b(str(source.resolve()).encode(), digest_size=8).hexdigest()
    store = cache_folder() / f"{source.resolve().stem}-{place}.store"
    if os.environ.get("RANK", "0") != "0":
        # Of several processes of one run, the first prepares.
        while not (store / "store.json").is_file():
            time.sleep(0.2)
        return open_store(store)
    say(f"preparing {source} into {store}")
    # Pre-training alone looks at no score that leakage could raise; the audit still warns.
    return prepare(source, store, allow_leakage=True)
