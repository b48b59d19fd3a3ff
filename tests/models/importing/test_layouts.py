"""Every layout that docs/guide/weights.md lists gives the original network's outputs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from medstrata.models.backbones import create_backbone
from medstrata.models.importing.find_encoder import find_encoder
from medstrata.models.importing.layouts import LAYOUTS
from medstrata.models.importing.match import Match, match
from support import foreign_files
from support.foreign_files import (
    FILES,
    KEY,
    QUERY,
    SLOW_FILES,
    Foreign,
    byol,
    lightly_moco,
    moco,
    timm_saver,
    under,
)


def image(channels: int, size: int = 64) -> Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(3))


def imported(path: Path, foreign: Foreign, *, encoder: str | None = None) -> tuple[Tensor, Match]:
    backbone = create_backbone(
        foreign.backbone, in_channels=foreign.channels, image_size=foreign.size
    )
    found = match(backbone.model, find_encoder(path, encoder=encoder))
    with torch.no_grad():
        return backbone.eval()(image(foreign.channels, foreign.size)).pooled, found


def original(foreign: Foreign) -> Tensor:
    with torch.no_grad():
        pooled = foreign.pooled(foreign.network.eval(), image(foreign.channels, foreign.size))
    return pooled.flatten(1)


@pytest.mark.parametrize(
    "make",
    [
        *(pytest.param(make, id=name) for name, make in FILES.items()),
        *(pytest.param(make, id=name, marks=pytest.mark.slow) for name, make in SLOW_FILES.items()),
    ],
)
def test_outputs_are_the_original_networks(make: Callable[[], Foreign], tmp_path: Path) -> None:
    foreign = make()
    torch.save(foreign.content, tmp_path / "file.pth")
    pooled, found = imported(tmp_path / "file.pth", foreign)
    assert foreign.said in found.line
    assert "missing none" in found.line
    torch.testing.assert_close(pooled, original(foreign), rtol=1e-4, atol=1e-4)


def test_every_layout_has_a_file() -> None:
    source = Path(foreign_files.__file__).read_text(encoding="utf-8")
    assert not [layout.name for layout in LAYOUTS if f"{layout.name} layout" not in source]


@pytest.mark.parametrize("averaged", [False, True])
def test_timm_checkpoints_offer_the_weights_and_their_average(
    averaged: bool, tmp_path: Path
) -> None:
    foreign = timm_saver(tmp_path, averaged=averaged)
    torch.save(foreign.content, tmp_path / "file.pth")
    pooled, found = imported(
        tmp_path / "file.pth", foreign, encoder="averaged" if averaged else None
    )
    assert foreign.said in found.line
    torch.testing.assert_close(pooled, original(foreign), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "other"),
    [(lambda: moco(2), "key"), (lightly_moco, "momentum"), (byol, "target")],
    ids=["MoCo v2", "lightly", "BYOL"],
)
def test_the_other_encoder_is_said_and_can_be_taken(
    make: Callable[[], Foreign], other: str, tmp_path: Path
) -> None:
    foreign = make()
    torch.save(foreign.content, tmp_path / "file.pth")
    _, found = imported(tmp_path / "file.pth", foreign)
    assert f"also in the file: encoder {other}" in " ".join(found.notes)
    pooled, found = imported(tmp_path / "file.pth", foreign, encoder=other)
    assert f"{other} encoder" in found.line
    expected = original(foreign._replace(network=KEY))
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(pooled, original(foreign), rtol=1e-2)


def test_safetensors_in_any_layout(tmp_path: Path) -> None:
    state = {**under("module.encoder_q.", QUERY), **under("module.encoder_k.", KEY)}
    save_file(state, tmp_path / "moco.safetensors")
    foreign = Foreign(None, QUERY, "resnet18", "")
    pooled, found = imported(tmp_path / "moco.safetensors", foreign)
    assert (
        found.line == "matched 120 of 120, dropped none, missing none (MoCo layout, query encoder)"
    )
    torch.testing.assert_close(pooled, original(foreign), rtol=1e-4, atol=1e-4)
