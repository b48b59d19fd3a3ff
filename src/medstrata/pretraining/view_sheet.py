"""A picture of the views as the encoder sees them."""

from pathlib import Path

import cv2
import numpy as np

from medstrata.data.loader import Loader
from medstrata.data.views import make_views
from medstrata.runtime.files import atomic_file

_IMAGES = 8


def save_view_sheet(path: Path, loader: Loader) -> None:
    """Write both views of the first images of the first batch, a row a view, as PNG."""
    rows = loader.batch_rows(epoch=0, step=0)[:_IMAGES]
    pixels, _ = make_views(loader.store, rows, loader.settings, seed=loader.seed, epoch=0)
    sheet = np.concatenate([np.concatenate(list(view), axis=1) for view in pixels], axis=0)
    colour = cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR) if sheet.shape[-1] == 3 else sheet
    with atomic_file(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", colour)[1].tobytes())
