"""Batches of a fine-tuning: pass after pass, each in an order of its own, until they are closed."""

import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from medstrata.data.store.store import Store
from medstrata.data.view_settings import mild
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import Evaluation
from medstrata.evaluation.tuning_batches import endless_batches, tuning_loader

BATCH = 8


@pytest.fixture
def evaluation(tiny_store: Store, tmp_path: Path) -> Evaluation:
    settings = FinetuneSettings(views=mild(24))
    options = {"backbone": "test_resnet"}
    return Evaluation.begin("scratch", tiny_store, "finding", tmp_path / "run", settings, options)


def test_every_pass_has_an_order_of_its_own(evaluation: Evaluation) -> None:
    rows = evaluation.store.rows("train")[:20]
    settings = FinetuneSettings(batch_size=BATCH)
    loader = tuning_loader(evaluation, rows, settings, torch.device("cpu"))
    batches = endless_batches(loader)
    ids = [batch.ids.numpy() for batch in islice(batches, 4)]
    batches.close()
    expected = [loader.batch_rows(epoch, step) for epoch in (0, 1) for step in (0, 1)]
    np.testing.assert_array_equal(ids, expected)
    first, second = np.concatenate(ids[:2]), np.concatenate(ids[2:])
    assert len(np.unique(first)) == 2 * BATCH
    assert not np.array_equal(first, second)


def test_images_are_as_large_as_the_encoder_wants_and_few_are_one_batch(
    evaluation: Evaluation,
) -> None:
    rows = evaluation.store.rows("train")[:5]
    loader = tuning_loader(evaluation, rows, FinetuneSettings(), torch.device("cpu"))
    batches = endless_batches(loader)
    (view,) = next(batches).views
    batches.close()
    assert view.shape[:3] == (5, 24, 24)


def test_closing_ends_the_reading_ahead(evaluation: Evaluation) -> None:
    before = threading.active_count()
    rows = evaluation.store.rows("train")
    batches = endless_batches(
        tuning_loader(evaluation, rows, FinetuneSettings(batch_size=BATCH), torch.device("cpu"))
    )
    next(batches)
    assert threading.active_count() > before
    batches.close()
    assert threading.active_count() == before
