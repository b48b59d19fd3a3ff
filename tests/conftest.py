"""Small image folders and stores, and an encoder trained on one."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe
from support.tiny import make_store


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: packed ones hold the time, and processes must agree."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what commands cache, and the key of the site, out of the user's own folders.

    So they are out of the next run of tests too, and processes that tests start have the same.
    """
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MEDSTRATA_CACHE", str(tmp_path_factory.mktemp("cache")))
        key = tmp_path_factory.mktemp("site") / "patient.key"
        environment.setenv("MEDSTRATA_PATIENT_KEY", str(key))
        yield


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """48 grey images of 20 x 16 pixels in `images/`, 16 patients, and `labels.csv` beside it."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(48):
        patient = number // 3
        file = Path("images", f"site{patient % 2}", f"{number:03d}.png")
        path = tmp_path / "source" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), generator.integers(0, 256, (16, 20), dtype=np.uint8))
        rows.append(
            {
                "file": file.as_posix(),
                "patient_id": f"{patient:03d}",
                "finding": patient % 4 // 2,
                "grade": patient % 3,
                "kind": "abc"[number % 3],
                "fold": patient % 4,
            }
        )
    pd.DataFrame(rows).to_csv(tmp_path / "source" / "labels.csv", index=False)
    return tmp_path / "source"


@pytest.fixture
def store(image_folder: Path, tmp_path: Path) -> Store:
    """The store of `image_folder`, with a seed that draws every finding into every split."""
    return prepare(
        image_folder,
        tmp_path / "made.store",
        PrepareSettings(labels=image_folder / "labels.csv", seed=47),
    )


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 images to train on, made once for all tests; none of them may change it."""
    return make_store(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def encoder(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three steps of pre-training on `tiny_store`; no test may change it."""
    settings = recipe(
        "fair/moco_mse",
        backbone="test_resnet",
        epochs=1,
        batch_size=8,
        contrastive={"queue_size": 20},
    )
    return pretrain(tiny_store, settings, tmp_path_factory.mktemp("encoder") / "run")
