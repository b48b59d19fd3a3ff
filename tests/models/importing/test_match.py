"""All tensors of a backbone or none, and what is changed in form before they match."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from medstrata.models.backbones import Backbone, Features, create_backbone
from medstrata.models.importing.architecture import looks_like
from medstrata.models.importing.find_encoder import find_encoder
from medstrata.models.importing.match import Match, match
from medstrata.runtime.errors import MedstrataError
from support.foreign_files import QUERY, TINY, dinov2, head, moco, moco_v3, monai_biases, under, vit


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


# --- Strictness --------------------------------------------------------------------------------


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
    assert looks_like(state) == f"a {expected}"


def test_a_volume_network_is_told_apart(tmp_path: Path) -> None:
    state = {"conv1.weight": torch.zeros(64, 1, 7, 7, 7)}
    line = refusal(build("resnet18"), saved(tmp_path / "w.safetensors", state))
    assert "looks like a 3D network, and backbones here are 2D" in line


def test_an_unknown_prefix_is_said_and_can_be_given(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", {**under("alpha.beta.", QUERY), **head("alpha.gamma")})
    assert "its encoder lies under alpha.beta.: give that as the prefix" in refusal(
        build("resnet18"), path
    )
    assert taken(build("resnet18"), path, prefix="alpha.beta.").line.startswith(
        "matched 120 of 120"
    )
    assert "has no encoder where the prefix layout has it" in refusal(
        build("resnet18"), path, prefix="delta."
    )


def test_two_encoders_in_one_place_are_not_guessed_between(tmp_path: Path) -> None:
    state = {**under("backbone.", QUERY), **under("net.", QUERY)}
    path = saved(tmp_path / "w.safetensors", state)
    assert "has several encoders, under 'backbone.', 'net.'; add --prefix" in refusal(
        build("resnet18"), path
    )
    taken(build("resnet18"), path, prefix="net.")
    assert "has no key encoder, but main" in refusal(
        build("resnet18"),
        saved(tmp_path / "v.safetensors", under("backbone.", QUERY)),
        encoder="key",
    )


def test_a_tensor_with_and_without_a_wrapper_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", {**under("", QUERY), **under("module.", QUERY)})
    assert "with and without `module.`" in refusal(build("resnet18"), path)


# --- Conversions -------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_colour_weights_in_a_grey_model_equal_three_equal_channels(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"w{suffix}"
    if suffix == ".pth":
        torch.save(trained(), path)
    else:
        saved(path, trained())
    grey, colour, batch = build(in_channels=1), build(), images(1)
    assert "three channels summed into one" in taken(grey, path).notes[0]
    assert not taken(colour, path).notes
    untrained = features(build(in_channels=1), batch)
    one, three = features(grey, batch), features(colour, batch.expand(2, 3, 32, 32))
    for stage in one.stages:
        torch.testing.assert_close(one.stages[stage], three.stages[stage], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.pooled, three.pooled, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one.pooled, untrained.pooled, rtol=0.1)


def test_grey_weights_in_a_colour_model_equal_one_channel(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", trained(in_channels=1))
    grey, colour, batch = build(in_channels=1), build(), images(1)
    taken(grey, path)
    assert "one channel shared by three" in taken(colour, path).notes[0]
    torch.testing.assert_close(
        features(grey, batch).pooled,
        features(colour, batch.expand(2, 3, 32, 32)).pooled,
        rtol=1e-4,
        atol=1e-5,
    )


def test_positions_of_another_image_size_are_resampled(tmp_path: Path) -> None:
    network = vit(size=64)
    path = saved(tmp_path / "w.safetensors", network.state_dict())
    backbone = build(TINY, image_size=96)
    assert taken(backbone, path).notes == (
        "position embeddings resampled from 4 x 4 to 6 x 6 patches",
    )
    # timm's own way to another size, on its own model.
    network.set_input_size(96)
    with torch.no_grad():
        torch.testing.assert_close(features(backbone, images(3, 96)).pooled, network(images(3, 96)))


def test_what_the_tensors_cannot_tell_is_said(tmp_path: Path) -> None:
    torch.save(monai_biases().content, tmp_path / "monai.pth")
    found = taken(build("resnet18"), tmp_path / "monai.pth")
    assert found.notes == ("3 biases before BatchNorm taken into its running means",)
    assert "unless conv1_t_stride=2" in found.cautions[0]
    small = vit("vit_small_patch16_224", size=32)
    content = {**under("module.base_encoder.", small), **under("module.momentum_encoder.", small)}
    torch.save({"state_dict": content}, tmp_path / "v3.pth")
    found = taken(build("vit_small_patch16_224"), tmp_path / "v3.pth")
    assert "12 heads and timm's 6" in found.cautions[0]
    torch.save(moco_v3().content, tmp_path / "resnet.pth")
    assert not taken(build("resnet18"), tmp_path / "resnet.pth").cautions


def test_registers_need_a_model_that_has_them(tmp_path: Path) -> None:
    torch.save(dinov2(registers=True).content, tmp_path / "w.pth")
    line = refusal(build("vit_small_patch14_dinov2", image_size=56), tmp_path / "w.pth")
    assert "unknown 1 (reg_token)" in line


def test_buffers_of_old_pytorch_are_filled_in(tmp_path: Path) -> None:
    state = {k: v for k, v in trained().items() if not k.endswith("num_batches_tracked")}
    backbone = build()
    found = taken(backbone, saved(tmp_path / "w.safetensors", state))
    assert "counts of batches are not in the file: 0" in found.notes[0]
    assert not any(
        int(module.num_batches_tracked)
        for module in backbone.modules()
        if isinstance(module, nn.BatchNorm2d)
    )
