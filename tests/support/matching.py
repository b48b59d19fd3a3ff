"""Small networks, their weights in files, and what matching the two gives."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from medstrata.models.backbones import Backbone, Features, create_backbone
from medstrata.models.importing.find_encoder import find_encoder
from medstrata.models.importing.match import Match, match
from medstrata.runtime.errors import MedstrataError


def build(name: str = "test_resnet", **options: Any) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_backbone(name, **{"in_channels": 3, "image_size": 32, **options})


@torch.no_grad()
def features(backbone: Backbone, batch: Tensor) -> Features:
    return backbone.eval()(batch)


def images(channels: int, size: int = 32) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1))


def saved(path: Path, state: dict[str, Tensor]) -> Path:
    save_file({name: value.clone().contiguous() for name, value in state.items()}, path)
    return path


def trained(**options: Any) -> dict[str, Tensor]:
    """A state away from its start, so that loading it shows."""
    state = build(zero_init_residual=False, **options).model.state_dict()
    return {
        key: value + 0.01 if value.is_floating_point() else value for key, value in state.items()
    }


def refusal(backbone: Backbone, path: Path, **options: Any) -> str:
    before = {key: value.clone() for key, value in backbone.model.state_dict().items()}
    with pytest.raises(MedstrataError) as caught:
        match(backbone.model, find_encoder(path, **options))
    assert len(str(caught.value).splitlines()) == 1
    after = backbone.model.state_dict()
    assert all(torch.equal(value, before[key]) for key, value in after.items())
    return str(caught.value)


def taken(backbone: Backbone, path: Path, **options: Any) -> Match:
    return match(backbone.model, find_encoder(path, **options))
