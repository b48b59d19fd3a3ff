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

from pathlib import Path

SHARD_ROWS = 4096
SHARD_BYTES = 256 * 2**20
# All but store.json.
FILES = ("images-*.npy", "manifest.parquet", "quarantine.csv", "preview.png", "audit.json")


def shard_path(store: Path, number: int) -> Path:
    """Where a shard lies."""
    return store / f"images-{number:05d}.npy"
