"""What a network takes grows with its images, and measuring it leaves no trace."""

import pytest
import torch

from medstrata.models.backbones import create_backbone
from medstrata.models.cost import NetworkCost, measure_cost
from medstrata.runtime.devices import make_accelerator
from medstrata.runtime.process_state import preserve_process_state


@preserve_process_state()
def measured(size: int) -> NetworkCost:
    return measure_cost("test_resnet", size, 1, 8, make_accelerator("fp32"))


def test_what_a_step_keeps_grows_with_the_pixels() -> None:
    small, large = measured(32), measured(64)
    assert large.activation_bytes == pytest.approx(4 * small.activation_bytes, rel=0.02)
    # At the least the maps that enter the stages and leave the network, in float32.
    network = create_backbone("test_resnet", in_channels=1, image_size=32)
    stages = network(torch.rand(2, 1, 32, 32)).stages.values()
    assert small.activation_bytes > sum(stage[0].numel() for stage in stages) * 4
    assert small.weight_bytes == 4 * sum(weight.numel() for weight in network.parameters())
    assert 0 < small.inference_seconds < small.training_seconds


def test_measuring_leaves_generators_and_threads_as_they_were() -> None:
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    measured(32)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
