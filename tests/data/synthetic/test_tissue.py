"""Made-up tissue: the finding is in which textures go together, not in the stain."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from medstrata.data.synthetic.tissue import KINDS, draw_image, finding, make_images
from medstrata.runtime.errors import MedstrataError

Sample = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """480 images, shape (480, 32, 32, 3), one per patient, and their kinds."""
    kinds = np.arange(480) % KINDS
    return np.stack([draw_image(kind, i, 0) for i, kind in enumerate(kinds.tolist())]), kinds


def _auroc(features: NDArray[np.float64], found: NDArray[np.int64]) -> float:
    half = len(found) // 2
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    model = LogisticRegression(C=0.1, max_iter=5000).fit(scaled[:half], found[:half])
    return float(roc_auc_score(found[half:], model.decision_function(scaled[half:])))


def test_every_kind_is_written_in_colour_with_the_finding_that_was_drawn(tmp_path: Path) -> None:
    labels = make_images(tmp_path, images=14, images_per_patient=4, seed=3)
    table = pd.read_csv(labels)
    assert table["patient_id"].value_counts().sort_index().tolist() == [4, 4, 4, 2]
    for row in table.itertuples():
        patient, visit = int(row.patient_id.removeprefix("patient")), int(Path(row.file).stem)
        written = cv2.imread(str(tmp_path / row.file))[..., ::-1]
        drawn = [draw_image(kind, patient, visit, seed=3) for kind in range(KINDS)]
        (kind,) = [kind for kind in range(KINDS) if np.array_equal(written, drawn[kind])]
        assert row.finding == finding(kind)
    readme = (tmp_path / "README.txt").read_text(encoding="utf-8")
    assert "14 images of 4 patients" in readme
    assert "fine upright streaks" in readme
    with pytest.raises(MedstrataError, match="exists"):
        make_images(tmp_path, images=14)


def test_neither_family_nor_scale_tells_the_finding() -> None:
    found = np.array([finding(kind) for kind in range(KINDS)]).reshape(-1, 2)
    assert found.sum(axis=0).tolist() == [3, 3]
    assert found.sum(axis=1).tolist() == [1] * 6


def test_colour_and_brightness_do_not_tell_the_finding(sample: Sample) -> None:
    images, kinds = sample
    found = np.array([finding(kind) for kind in kinds.tolist()])
    flat = images.reshape(len(images), -1, 3).astype(np.float64)
    features = np.column_stack([flat.mean(axis=1), flat.std(axis=1)])
    assert 0.35 < _auroc(features, found) < 0.65


def test_the_textures_tell_the_kind_whatever_the_stain(sample: Sample) -> None:
    """Mean spectra of the kinds are nearest to those of other images of the same kind."""
    images, kinds = sample
    grey = images.mean(axis=3) / images.mean(axis=(1, 2, 3))[:, None, None] - 1
    spectra = np.log(np.abs(np.fft.rfft2(grey)) + 0.1).reshape(len(images), -1)
    skew = np.sign((grey**3).mean(axis=(1, 2)))[:, None] * 30  # bright or dark islands
    features = np.column_stack([spectra, skew])
    centres = np.stack([features[:240][kinds[:240] == kind].mean(axis=0) for kind in range(KINDS)])
    distance = np.linalg.norm(features[240:, None] - centres[None], axis=2)
    assert (distance.argmin(axis=1) == kinds[240:]).mean() > 0.9


def test_a_patient_has_one_stain_and_others_have_others() -> None:
    def colour(patient: int, visit: int) -> NDArray[np.float64]:
        return np.asarray(draw_image(0, patient, visit).mean(axis=(0, 1)))

    same = [np.abs(colour(p, 0) - colour(p, 1)).max() for p in range(20)]
    other = [np.abs(colour(p, 0) - colour(p + 1, 0)).max() for p in range(20)]
    assert max(same) < 8 < np.mean(other)
