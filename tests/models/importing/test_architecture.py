"""Networks are known by the shapes of their tensors."""

from pathlib import Path

import pytest
import timm
import torch

from medstrata.models.importing.architecture import guess_architecture
from support.foreign_files import TINY
from support.matching import build, refusal, saved


@pytest.mark.parametrize(
    ("holds", "wanted"),
    [
        ("resnet34", "resnet18"),  # has every tensor of a resnet18, of the same shapes, and more
        ("resnet18", "resnet50"),
        ("wide_resnet50_2", "resnet50"),
        ("resnext50_32x4d", "resnet50"),
        ("densenet121", "resnet18"),
        ("convnext_atto", "resnet18"),
    ],
)
def test_another_architecture_is_refused_by_name(holds: str, wanted: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        other = timm.create_model(holds).state_dict()
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in other.items()}
    line = refusal(build(wanted), saved(tmp_path / "w.safetensors", state))
    assert f"does not fit {wanted} (plain layout)" in line
    assert f"looks like a {holds}: give that as the backbone" in line


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t",
        "resnet26",
        "resnet101",
        "resnet152",
        "densenet169",
        "convnext_tiny",
        TINY,
        "vit_base_patch16_224",
        "vit_small_patch14_dinov2",
    ],
)
def test_architectures_are_known_by_their_shapes(name: str) -> None:
    with torch.device("meta"):
        state = timm.create_model(name).state_dict()
    expected = {"vit_small_patch14_dinov2": "vit_small_patch14_518"}.get(name, name)
    assert guess_architecture(state) == f"a {expected}"


def test_a_volume_network_is_told_apart(tmp_path: Path) -> None:
    state = {"conv1.weight": torch.zeros(64, 1, 7, 7, 7)}
    line = refusal(build("resnet18"), saved(tmp_path / "w.safetensors", state))
    assert "looks like a 3D network, and backbones here are 2D" in line
