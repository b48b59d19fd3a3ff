"""All tensors of a backbone or none."""

from pathlib import Path
from typing import Any

import pytest
import torch

from medstrata.models.importing.find_encoder import find_encoder
from medstrata.models.importing.match import match
from support.foreign_files import dinov2, moco
from support.matching import build, refusal, saved, taken, trained


def test_the_line_counts_what_was_matched_and_dropped(tmp_path: Path) -> None:
    foreign = moco(2)
    torch.save(foreign.content, tmp_path / "moco.pth")
    found = taken(build("resnet18"), tmp_path / "moco.pth")
    assert found.line == (
        "matched 120 of 124, dropped fc.0.weight, fc.0.bias, fc.2.weight and 1 more, missing none "
        "(MoCo v2 layout, query encoder)"
    )
    assert (found.matched, found.total) == (120, 124)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("bn1.bias"), "missing 1 (bn1.bias)"),
        (
            lambda state: state.update({"bn1.bias": torch.zeros(3)}),
            "of other shape 1 (bn1.bias (3,) not (32,))",
        ),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), "unknown 1 (extra.weight)"),
        (lambda state: state.update({"bn1.bias": torch.zeros(32, dtype=torch.int8)}), "bn1.bias"),
        (lambda state: state["bn1.bias"].fill_(torch.nan), "holds NaN or infinity (bn1.bias)"),
    ],
    ids=["missing", "shape", "unknown", "kind", "NaN"],
)
def test_what_does_not_fit_is_refused_and_named(change: Any, said: str, tmp_path: Path) -> None:
    state = trained()
    change(state)
    assert said in refusal(build(), saved(tmp_path / "w.safetensors", state))


def test_half_precision_is_widened(tmp_path: Path) -> None:
    state = {
        key: value.half() if value.is_floating_point() else value
        for key, value in trained().items()
    }
    backbone = build()
    match(backbone.model, find_encoder(saved(tmp_path / "w.safetensors", state)))
    for key, value in backbone.model.state_dict().items():
        torch.testing.assert_close(value, state[key].to(value.dtype))


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "cait_xxs24_224"])
def test_a_file_of_another_image_size_that_cannot_be_resampled_names_its_own(
    name: str, tmp_path: Path
) -> None:
    file = saved(tmp_path / "w.safetensors", trained(name=name, image_size=224))
    line = refusal(build(name, image_size=64), file)
    assert f"is a {name} for images of 224 pixels" in line
    assert "import-weights --image-size 224, finetune --views.size 224" in line
    assert "looks like" not in line


def test_registers_need_a_model_that_has_them(tmp_path: Path) -> None:
    torch.save(dinov2(registers=True).content, tmp_path / "w.pth")
    line = refusal(build("vit_small_patch14_dinov2", image_size=56), tmp_path / "w.pth")
    assert "unknown 1 (reg_token)" in line
