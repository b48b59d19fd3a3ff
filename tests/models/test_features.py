"""Extracted features: in the order asked for, by a network that stays as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medstrata.data.store.store import Store
from medstrata.models import features
from medstrata.models.backbones import create_backbone
from medstrata.models.encoders import load_encoder
from medstrata.models.features import extract_features, forward_all, single_output
from medstrata.models.preprocessing import identity
from medstrata.runs.encoder_spec import EncoderSpec


def test_frozen_encoder_does_not_move(tiny_store: Store, encoder: Path) -> None:
    loaded = load_encoder(
        EncoderSpec.parse(encoder),
        backbone=None,
        image_size=32,
        channels=1,
        store_stats=(tiny_store.mean, tiny_store.std),
    )
    before = {key: value.clone() for key, value in loaded.backbone.state_dict().items()}
    loaded.backbone.train()
    extract_features(
        loaded.backbone,
        tiny_store,
        tiny_store.rows("test"),
        loaded.preprocessing,
        torch.device("cpu"),
    )
    for key, value in loaded.backbone.state_dict().items():
        assert torch.equal(before[key], value), key
    assert loaded.backbone.training


def test_features_come_in_the_order_asked_for(tiny_store: Store) -> None:
    backbone = create_backbone("test_resnet", in_channels=1, image_size=32)
    rows = tiny_store.rows("test")
    straight, turned = (
        extract_features(backbone, tiny_store, order, identity(32, 1), torch.device("cpu"))
        for order in (rows, rows[::-1].copy())
    )
    np.testing.assert_allclose(straight.pooled, turned.pooled[::-1], atol=1e-5)
    assert straight.stages["stage1"].shape == (len(rows), 32)


@pytest.mark.parametrize(("size", "most"), [(32, 256), (224, 256), (2240, 2), (8000, 1)])
def test_of_large_images_fewer_pass_at_a_time(
    size: int, most: int, tiny_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    batches = Store.batches

    def recording(store: Store, rows: Any, size: int) -> Any:
        asked.append(size)
        return batches(store, rows, size)

    monkeypatch.setattr(Store, "batches", recording)
    monkeypatch.setattr(features, "forward_batch", lambda *_: [np.zeros((1, 1))])
    forward_all(
        nn.Identity(),
        tiny_store,
        tiny_store.rows("test"),
        identity(size, 1),
        torch.device("cpu"),
        single_output,
    )
    assert asked == [most]
