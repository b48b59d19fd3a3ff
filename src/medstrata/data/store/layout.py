"""The files of a store's folder.

    store.json         sizes, statistics, label columns, shards and the settings that made it
    manifest.parquet   a row per image: ids, split, source, record of decoding, place, labels
    images-00000.npy   pixels, uint8 or uint16 (N, H, W, C), `SHARD_ROWS` and `SHARD_BYTES` at most
    quarantine.csv     files that gave no image, with the reason
    audit.json         what could make results look better than they are
    preview.png        a contact sheet

`store.json` is written last, so a folder with it is whole.

Legend: N samples, C channels, H W height and width, equal here.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SHARD_ROWS = 4096
SHARD_BYTES = 256 * 2**20
# All but store.json.
FILES = ("images-*.npy", "manifest.parquet", "quarantine.csv", "preview.png", "audit.json")


def shard_path(store: Path, number: int) -> Path:
    """Where a shard lies."""
    return store / f"images-{number:05d}.npy"


def checksum(header: Mapping[str, Any], manifest: Path) -> str:
    """Of what store.json says, but for this checksum itself, and of the manifest's bytes.

    Returns:
        32 hexadecimal digits, kept in store.json.
    """
    said = {name: value for name, value in header.items() if name != "checksum"}
    digest = hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16)
    with manifest.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
