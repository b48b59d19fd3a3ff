"""How alike two images are, by their invariances."""

import numpy as np
import pytest

from medstrata.data.audit.similarity import detail, overlap_correlation, thumbnail_similarity
from support.pictures import SIZE, picture


def test_images_without_structure_are_not_alike():
    y, x = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    disc = np.hypot(x, y) < 0.95
    blurs = [(disc * (80 + 60 * slope * x + 40 * y)) for slope in (0.2, 0.5, 0.9)]
    blurs = [np.clip(one, 0, 255).astype(np.uint8)[..., None] for one in blurs]
    assert not any(detail(one).has_structure for one in blurs)
    assert thumbnail_similarity(detail(blurs[0]), detail(blurs[1])) == 0


def test_likeness_by_its_invariances():
    one, other = (detail(picture(seed)) for seed in (1, 2))
    assert thumbnail_similarity(one, one) == pytest.approx(1)
    assert thumbnail_similarity(one, other) == pytest.approx(
        thumbnail_similarity(other, one), abs=0.1
    )
    assert thumbnail_similarity(one, other) < 0.6
    inverted = detail(255 - picture(1))
    assert overlap_correlation(one, inverted, 0, 0)[0] < -0.9
    value, area = overlap_correlation(one, one, 12, -24)
    assert area <= 0.75 * 0.5
    assert value < 0.5
