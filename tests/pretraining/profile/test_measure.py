"""Operations are counted as textbooks do, and seconds are those of the call."""

import time

import pytest
import torch

from medstrata.pretraining.profile.measure import count_operations, timed


def test_seconds_are_those_of_the_call() -> None:
    assert timed(lambda: time.sleep(0.05), torch.device("cpu")) >= 0.05


@pytest.mark.parametrize("groups", [1, 4, 8])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradients_take_twice_the_operations_of_the_pass(groups: int, transposed: bool) -> None:
    make = torch.nn.ConvTranspose2d if transposed else torch.nn.Conv2d
    layer = make(8, 8, 3, stride=2, padding=1, groups=groups)
    images = torch.rand(2, 8, 10, 10, requires_grad=True)
    forward = count_operations(lambda: layer(images))
    places = 100 if transposed else 25
    assert forward == 2 * 2 * places * 8 * (8 // groups) * 9
    assert count_operations(lambda: layer(images).sum().backward()) == 3 * forward
    alone = count_operations(lambda: layer(images.detach()).sum().backward())
    assert alone == 2 * forward  # no gradient of the images


def test_operations_of_a_product_are_counted() -> None:
    first, second = torch.rand(3, 4), torch.rand(4, 5)
    assert count_operations(lambda: first @ second) == 2 * 3 * 4 * 5
