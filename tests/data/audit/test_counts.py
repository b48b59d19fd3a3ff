"""Exposures and sizes that stand out are counted."""

import cv2
import numpy as np

from medstrata.data.audit.audit import read_audit
from support.audited import prepared, write_images


def test_odd_exposures_are_counted(tmp_path):
    table = write_images(tmp_path / "data", patients=10, images=1)
    pixels = np.zeros((64, 64), np.uint8)
    pixels[:2, :2] = 255
    cv2.imwrite(str(tmp_path / "data" / "images" / "dark.png"), pixels)
    cv2.imwrite(str(tmp_path / "data" / "images" / "bright.png"), 255 - pixels)
    faint = np.full((64, 64), 100, np.uint8)
    faint[0, 0] = 101
    cv2.imwrite(str(tmp_path / "data" / "images" / "faint.png"), faint)
    table.to_csv(tmp_path / "data" / "labels.csv", index=False)
    odd = read_audit(prepared(tmp_path / "data", tmp_path / "s.store")).facts["exposures"]
    assert {name: one["examples"] for name, one in odd.items()} == {
        "constant": ["faint"], "bright": ["bright"], "dark": ["dark"],
    }  # fmt: skip
