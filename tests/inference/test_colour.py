"""Colour images for an encoder of grey ones: turned grey everywhere alike, and it is said."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.probe import probe
from medstrata.evaluation.settings import FinetuneSettings, ProbeSettings
from medstrata.inference.embed import embed
from medstrata.inference.predict import predict
from support.runs import assert_predicts_its_test_images
from support.tiny import make_folder

FULL = FinetuneSettings(epochs=1, min_steps=2, batch_size=8, resamples=10)
FROZEN = FinetuneSettings(protocol="frozen", layer="pooled", resamples=10)
SAID = "takes grey images: the colour images of"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny images, each in a colour of its own."""
    folder = make_folder(tmp_path_factory.mktemp("colour"))
    colours = np.random.default_rng(0).uniform(0.3, 1.0, (60, 3))
    for path, colour in zip(sorted((folder / "images").iterdir()), colours, strict=True):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), (grey[:, :, None] * colour).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def store(folder: Path) -> Store:
    settings = PrepareSettings(labels=folder / "labels.csv", split="0.5/0.25/0.25")
    return prepare(folder / "images", folder / "colour.store", settings)


@pytest.mark.parametrize("settings", [FULL, FROZEN])
def test_fine_tuned_and_predicting(
    settings: FinetuneSettings,
    encoder: Path,
    store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert store.channels == 3
    run = finetune(encoder, store, "finding", 1.0, tmp_path / "run", settings)
    assert capsys.readouterr().err.count(SAID) == 1
    predicted = predict(run, store, tmp_path / "p.csv")
    assert capsys.readouterr().err.count(SAID) == 1
    assert_predicts_its_test_images(run, predicted)


def test_probed(
    encoder: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    probe(encoder, store, "finding", tmp_path / "run", settings=ProbeSettings(resamples=10))
    assert capsys.readouterr().err.count(SAID) == 1


def test_a_store_and_its_files_have_the_same_features(
    folder: Path, encoder: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of_store = pd.read_parquet(embed(encoder, store, tmp_path / "s.parquet")).set_index("id")
    assert capsys.readouterr().err.count(SAID) == 1
    of_files = pd.read_parquet(embed(encoder, folder / "images", tmp_path / "f.parquet"))
    assert "colour turned grey" in capsys.readouterr().err
    for one in of_files.itertuples():
        np.testing.assert_allclose(of_store.loc[Path(one.id).stem, "pooled"], one.pooled, atol=1e-5)
