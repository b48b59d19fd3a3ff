"""Pixels become what a network expects."""

import pytest
import torch

from medstrata.models import preprocessing


def test_preprocessing_by_hand() -> None:
    expected = preprocessing.store_statistics(2, 3, (0.5,), (0.25,))
    pixels = torch.tensor([0, 255, 127, 64], dtype=torch.uint8).reshape(1, 2, 2, 1)
    images = expected(pixels)
    assert images.shape == (1, 3, 2, 2)
    by_hand = (pixels.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(images, by_hand.expand(1, 3, 2, 2))
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_preprocessing_kinds() -> None:
    colour = torch.randint(0, 256, (2, 4, 4, 3), dtype=torch.uint8)
    plain = preprocessing.identity(4, 3)(colour)
    torch.testing.assert_close(plain, colour.permute(0, 3, 1, 2) / 255)
    mean = torch.tensor(preprocessing.IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(preprocessing.IMAGENET_STD).view(1, 3, 1, 1)
    torch.testing.assert_close(
        preprocessing.imagenet(4, 3)(colour), (plain - mean) / std, atol=1e-5, rtol=1e-5
    )
    assert preprocessing.imagenet(4, 1).mean == pytest.approx((0.449,), abs=1e-3)
    with pytest.raises(ValueError, match="3 channels for an encoder of 1"):
        preprocessing.identity(4, 1)(colour)
