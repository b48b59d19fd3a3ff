"""The encoder as scikit-learn's transformer."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_checks
from sklearn.utils.validation import check_is_fitted

from medstrata.inference.embed import embed
from medstrata.inference.settings import EmbedSettings
from medstrata.inference.transformer import Encoder
from medstrata.runtime.errors import MedstrataError


@pytest.fixture
def encoder() -> Encoder:
    return Encoder("scratch", backbone="test_resnet", image_size=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for number in range(5):
        cv2.imwrite(str(folder / f"{number}.png"), draw.integers(0, 256, (40, 50), dtype=np.uint8))
    return folder


def test_paths_pixels_and_embed_give_the_same(
    encoder: Encoder, folder: Path, tmp_path: Path
) -> None:
    paths = sorted(folder.iterdir())
    pixels = np.stack([cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths])
    found = encoder.transform(paths)
    assert found.dtype == np.float32
    assert found.shape == (5, 96)
    for same in (pixels, pixels[..., None], np.repeat(pixels[..., None], 3, axis=3)):
        assert np.array_equal(encoder.transform(same), found)
    assert np.array_equal(encoder.transform(pd.Series(map(str, paths))), found)
    out = embed(
        "scratch", folder, tmp_path / "f.npz", EmbedSettings(image_size=32), backbone="test_resnet"
    )
    assert np.array_equal(np.load(out)["pooled"], found)
    by_two = clone(encoder).set_params(batch_size=2).transform(paths)
    np.testing.assert_allclose(by_two, found, atol=1e-5)
    assert encoder.transform(pixels[:0]).shape == (0, 96)


def test_names_and_set_output(encoder: Encoder, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    encoder.set_params(stage="all").set_output(transform="pandas")
    frame = encoder.transform(paths)
    assert list(frame) == encoder.get_feature_names_out().tolist()
    assert list(frame)[:2] == ["stage1_0", "stage1_1"]
    assert list(frame)[-1] == "pooled_95"
    third = Encoder("scratch", backbone="test_resnet", image_size=32, stage="stage3").transform(
        paths
    )
    assert np.array_equal(frame.filter(like="stage3").to_numpy(), third)


def test_pickles_and_clones_hold_parameters_alone(encoder: Encoder, folder: Path) -> None:
    paths = sorted(folder.iterdir())
    before = encoder.transform(paths)
    stored = pickle.dumps(encoder)
    assert len(stored) < 2000
    again = pickle.loads(stored)  # noqa: S301
    assert again.get_params() == encoder.get_params()
    assert np.array_equal(again.transform(paths), before)
    other = clone(encoder).set_params(seed=1)
    assert not np.array_equal(other.transform(paths), before)
    encoder.set_params(seed=1)  # another network, although one was loaded
    assert np.array_equal(encoder.transform(paths), other.transform(paths))


def test_in_a_pipeline(encoder: Encoder, tmp_path: Path) -> None:
    from support.tiny import make_folder

    folder = make_folder(tmp_path)
    table = pd.read_csv(folder / "labels.csv")
    paths = [str(folder / "images" / name) for name in table["file"]]
    pipeline = make_pipeline(encoder, LogisticRegression(max_iter=2000))
    scores = cross_val_score(pipeline, paths, table["finding"], cv=3, scoring="roc_auc")
    assert scores.mean() > 0.9  # stripes of two directions


def test_scikit_learns_own_checks_that_need_no_table(encoder: Encoder) -> None:
    checks = (
        "check_estimator_cloneable",
        "check_estimator_repr",
        "check_get_params_invariance",
        "check_set_params",
        "check_no_attributes_set_in_init",
        "check_do_not_raise_errors_in_init_or_set_param",
        "check_estimator_tags_renamed",
        "check_valid_tag_types",
    )
    for name in checks:
        check = getattr(estimator_checks, name, None)
        if check is not None:
            check("Encoder", encoder)
    check_is_fitted(encoder)
    assert "Encoder" in encoder._repr_html_()


def test_errors_name_the_image(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(MedstrataError, match=r"bad.png cannot be read \(not an image\)"):
        encoder.transform([tmp_path / "bad.png"])
    with pytest.raises(MedstrataError, match="give uint8"):
        encoder.transform(np.zeros((2, 8, 8)))
    with pytest.raises(MedstrataError, match="give uint8"):
        encoder.transform(np.zeros((2, 8, 8, 2), dtype=np.uint8))
    with pytest.raises(ValueError, match=r"fit must be one of pad, .*, got 'odd'"):
        clone(encoder).set_params(fit_images="odd").transform([])
    with pytest.raises(MedstrataError, match="no stage stage7"):
        encoder.set_params(stage="stage7").get_feature_names_out()
