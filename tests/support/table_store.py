"""Stores of a table alone."""

import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from medstrata.data.store.store import Store

_FOLDERS = tempfile.TemporaryDirectory()


def store_of_table(manifest: pd.DataFrame, **header: Any) -> Store:
    """A store of 8 px, unless said otherwise, that has a manifest and no pixels."""
    folder = Path(tempfile.mkdtemp(dir=_FOLDERS.name))
    manifest.assign(shard=0, shard_row=range(len(manifest))).to_parquet(
        folder / "manifest.parquet", index=False
    )
    whole = {"size": 8, "channels": 1, "bits": 8, "mean": [0.5], "std": [0.2], "digest": ""}
    return Store(folder, whole | {"label_columns": {}} | header)
