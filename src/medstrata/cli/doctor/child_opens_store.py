"""A child of doctor's: opens a store and compares some of it with what its manifest says.

python -m medstrata.cli.doctor.child_opens_store STORE
"""

import hashlib
import json
import sys
from typing import Any

import numpy as np

from medstrata.cli.doctor.child import report
from medstrata.data.prepare.manifest import store_digest
from medstrata.data.store.open import is_address, open_store
from medstrata.data.store.store import Store

_ROWS = 64  # images whose pixels are compared


def main() -> None:
    """Look at the store that is named."""
    location = sys.argv[1]
    if is_address(location):
        report("address", lambda: None)  # opening it would need the network
        return
    report("opens", lambda: _described(open_store(location)))
    report("digest", lambda: _digest_holds(open_store(location)))
    report("pixels", lambda: _spot_check(open_store(location)))


def _described(store: Store) -> dict[str, Any]:
    return {"images": len(store), "size": store.size, "digest": store.digest}


def _digest_holds(store: Store) -> bool:
    header = json.loads((store.path / "store.json").read_bytes())
    return store_digest(header, store.label_columns, store.manifest) == store.digest


def _spot_check(store: Store) -> dict[str, Any]:
    """Images evenly over the store, whose pixels are not those that were written."""
    rows = np.unique(np.linspace(0, len(store) - 1, _ROWS).astype(np.int64))
    table = store.columns("sample_id", "pixel_checksum")
    differing = [
        str(table["sample_id"].iloc[row])
        for row in rows
        if hashlib.sha256(np.ascontiguousarray(store[row]).data).hexdigest()[:32]
        != table["pixel_checksum"].iloc[row]
    ]
    return {"looked_at": len(rows), "differing": differing}


if __name__ == "__main__":
    main()
