"""Pixels become what a network expects."""

import cv2
import numpy as np
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


@pytest.mark.parametrize("depth", [torch.uint8, torch.uint16])
def test_colour_is_turned_grey_as_files_are(depth: torch.dtype) -> None:
    top = torch.iinfo(depth).max
    colour = torch.randint(0, top + 1, (2, 9, 9, 3), dtype=torch.int32).to(depth)
    images = preprocessing.identity(9, 1)(colour)
    assert images.shape == (2, 1, 9, 9)
    for pixels, image in zip(colour.numpy(), images, strict=True):
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        assert np.array_equal((image[0] * top).round().numpy().astype(grey.dtype), grey)
