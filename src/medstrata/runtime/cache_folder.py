"""Where the program keeps what it makes by itself."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """What the program keeps by itself lies here: $MEDSTRATA_CACHE, else ~/.cache/medstrata."""
    return Path(os.environ.get("MEDSTRATA_CACHE", Path.home() / ".cache" / "medstrata"))
