"""A store cut into more shards, in another folder of the same name."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.store.layout import shard_path
from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from support.resealed import reseal


def cut(store: Store, folder: Path, rows: int) -> Store:
    """The same images, so many a shard."""
    made = folder / store.path.name
    made.mkdir(parents=True)
    numbers = np.arange(len(store))
    manifest = pd.read_parquet(store.path / "manifest.parquet")
    manifest = manifest.assign(shard=numbers // rows, shard_row=numbers % rows)
    manifest.to_parquet(made / "manifest.parquet", index=False)
    shards = np.split(numbers, range(rows, len(store), rows))
    for number, part in enumerate(shards):
        np.save(shard_path(made, number), store.read(part))
    header = json.loads((store.path / "store.json").read_text())
    header["shards"] = [[number, len(part)] for number, part in enumerate(shards)]
    (made / "store.json").write_text(json.dumps(header))
    reseal(made)
    return open_store(made)
