"""Exposures and sizes that stand out are counted."""

import cv2
import numpy as np

from medstrata.data.audit.audit import read_audit
from medstrata.data.prepare.prepare import prepare
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


def test_images_that_are_all_but_black_or_white_are_said(tmp_path):
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, (low, high) in enumerate([(0, 16), (240, 256), (0, 200), (100, 130)]):
        for copy in range(3):
            pixels = generator.integers(low, high, (64, 64), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "images" / f"{number}{copy}.png"), pixels)
    result = read_audit(prepare(tmp_path / "images", tmp_path / "s"))
    faint = result.facts["faint"]
    assert (faint["looked_at"], faint["images"]) == (12, 6)
    assert faint["examples"] == ["00", "01", "02", "10", "11", "12"]
    assert any("6 of 12 images looked at are all but black" in one.what for one in result.findings)
