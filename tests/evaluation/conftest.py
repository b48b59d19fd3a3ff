"""A fine-tuned run."""

from pathlib import Path

import pytest

from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings


@pytest.fixture(scope="session")
def tuned(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network fine-tuned whole from scratch for three steps; no test may change it."""
    settings = FinetuneSettings(epochs=2, min_steps=3, batch_size=8, resamples=50)
    out = tmp_path_factory.mktemp("tuned") / "scratch"
    return finetune("scratch", tiny_store, "finding", 1.0, out, settings, backbone="test_resnet")
