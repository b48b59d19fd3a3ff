"""Synthetic images: what is written, and that only the textures tell the finding."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from medstrata.data.synthetic import chest as synthetic
from medstrata.data.synthetic.chest import FAMILIES, draw_image, make_images
from medstrata.runtime.errors import MedstrataError

Sample = tuple[NDArray[np.uint8], NDArray[np.int64]]


@pytest.fixture(scope="module")
def sample() -> Sample:
    """600 images, shape (600, 64, 64), one per patient, and their families."""
    families = np.arange(600) % len(FAMILIES)
    images = [draw_image(family, patient, 0) for patient, family in enumerate(families.tolist())]
    return np.stack(images), families


def _auroc(features: NDArray[np.float64], finding: NDArray[np.int64]) -> float:
    """Held-out AUROC of a logistic regression; the two halves share no patient."""
    half = len(finding) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression(C=10.0, max_iter=5000))
    model.fit(features[:half], finding[:half])
    return float(roc_auc_score(finding[half:], model.decision_function(features[half:])))


def _direction_shares(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Shares of the texture's power in four directions, shape (N, 4)."""
    frequency = np.fft.fftfreq(images.shape[1])
    x, y = frequency[None, :], frequency[:, None]
    cycles = np.hypot(x, y) * images.shape[1]
    direction = np.mod(np.arctan2(y, x) + np.pi / 8, np.pi) // (np.pi / 4)
    power = np.abs(np.fft.fft2(images.astype(np.float64))) ** 2
    energy = np.stack(
        [
            (power * ((cycles > 6) & (cycles < 12) & (direction == turn))).sum(axis=(1, 2))
            for turn in range(4)
        ],
        axis=1,
    )
    return energy / energy.sum(axis=1, keepdims=True)


def test_folder_holds_every_listed_image_and_says_what_it_is(tmp_path: Path) -> None:
    labels = make_images(tmp_path / "new", images=10, images_per_patient=4, size=48)
    table = pd.read_csv(labels)
    assert labels == tmp_path / "new" / "labels.csv"
    assert list(table.columns) == ["file", "patient_id", "finding"]
    assert table["patient_id"].value_counts().sort_index().tolist() == [4, 4, 2]
    assert set(table["finding"]) <= {0, 1}
    assert {p.relative_to(labels.parent).as_posix() for p in labels.parent.rglob("*.png")} == set(
        table["file"]
    )
    for file in table["file"]:
        with Image.open(labels.parent / file) as image:
            assert (image.format, image.mode, image.size) == ("PNG", "L", (48, 48))
    readme = (labels.parent / "README.txt").read_text(encoding="utf-8")
    assert "10 images of 3 patients" in readme
    assert "nothing about medicine" in " ".join(readme.split())
    assert all(family in readme for family in FAMILIES)


def test_labels_follow_the_texture_drawn(tmp_path: Path) -> None:
    labels = make_images(tmp_path, images=12, seed=3)
    for row in pd.read_csv(labels).itertuples():
        patient, visit = int(row.patient_id.removeprefix("patient")), int(Path(row.file).stem)
        half = len(FAMILIES) // 2
        of_label = range(half * row.finding, half * (row.finding + 1))
        written = np.asarray(Image.open(labels.parent / row.file))
        drawn = [draw_image(family, patient, visit, seed=3) for family in of_label]
        assert sum(np.array_equal(written, image) for image in drawn) == 1


def test_equal_arguments_give_equal_files_and_another_seed_others(tmp_path: Path) -> None:
    state = np.random.get_state()  # noqa: NPY002
    folders = [make_images(tmp_path / str(n), images=6, seed=n // 2).parent for n in range(3)]
    contents = [
        {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*.*") if p.is_file()}
        for folder in folders
    ]
    assert contents[0] == contents[1]
    pngs = [file for file in contents[0] if file.suffix == ".png"]
    assert len(pngs) == 6
    assert all(contents[0][file] != contents[2][file] for file in pngs)
    assert np.array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002


def test_an_interrupted_call_is_completed_and_a_complete_folder_is_kept(tmp_path: Path) -> None:
    labels = make_images(tmp_path, images=3)
    written = labels.read_bytes()
    labels.unlink()
    assert make_images(tmp_path, images=3).read_bytes() == written
    with pytest.raises(MedstrataError, match="exists"):
        make_images(tmp_path, images=3)


@pytest.mark.parametrize(
    ("name", "value"), [("images", 0), ("images_per_patient", 0), ("size", 31)]
)
def test_a_number_out_of_range_is_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(MedstrataError, match=rf"{name} is {value}; give"):
        make_images(tmp_path, **{name: value})
    assert not any(tmp_path.iterdir())


def test_the_least_numbers_are_enough(tmp_path: Path) -> None:
    labels = make_images(tmp_path, images=1, images_per_patient=1, size=32)
    assert len(pd.read_csv(labels)) == 1


def test_families_are_balanced_and_most_patients_keep_one() -> None:
    families = synthetic._families(2400, 4, 0).reshape(600, 4)
    assert np.bincount(families[:, 0]).tolist() == [100] * 6
    assert np.array_equal(families[:, 0], families[:, 1])
    assert np.array_equal(families[:, 2], families[:, 3])
    finding = families // 3
    changed = finding[:, 0] != finding[:, 3]
    assert np.array_equal(changed, families[:, 0] != families[:, 3])
    assert 0.14 < changed.mean() < 0.26
    assert 0.45 < finding.mean() < 0.55


def test_images_of_a_patient_look_alike_and_none_is_flat_or_clipped(sample: Sample) -> None:
    images, _ = sample
    assert images.std(axis=(1, 2)).min() > 10
    assert ((images == 0) | (images == 255)).mean() < 0.02

    def coarse(patient: int, visit: int) -> NDArray[np.float64]:
        blocks = draw_image(0, patient, visit).reshape(8, 8, 8, 8).mean(axis=(1, 3))
        return (blocks - blocks.mean()) / blocks.std()

    same = [np.abs(coarse(p, 0) - coarse(p, 1)).mean() for p in range(60)]
    other = [np.abs(coarse(p, 0) - coarse(p + 1, 1)).mean() for p in range(60)]
    assert np.mean(same) < 0.9 * np.mean(other)


def test_every_texture_has_the_same_even_histogram() -> None:
    expected = 2.0 * np.arange(64 * 64) / (64 * 64 - 1) - 1.0
    for family in range(len(FAMILIES)):
        values = np.sort(synthetic._texture(family, 64, (0, family, 0)), axis=None)
        np.testing.assert_allclose(values, expected, atol=1e-6)


def test_brightness_does_not_tell_the_finding(sample: Sample) -> None:
    images, families = sample
    flat = images.reshape(len(images), -1).astype(np.float64)
    levels = np.percentile(flat, [1, 5, 10, 25, 50, 75, 90, 95, 99], axis=1)
    features = np.column_stack([flat.mean(axis=1), flat.std(axis=1), levels.T])
    assert _auroc(features, families // 3) < 0.6


def test_only_telling_the_families_apart_tells_the_finding(sample: Sample) -> None:
    images, families = sample
    shares = _direction_shares(images)
    # Squares say whether power is held by one direction or spread, which a weighting cannot.
    squares = np.column_stack(
        [shares, shares**2, shares[:, 0] * shares[:, 2], shares[:, 1] * shares[:, 3]]
    )
    assert _auroc(shares, families // 3) < 0.65
    assert _auroc(squares, families // 3) > 0.9
