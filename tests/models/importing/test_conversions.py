"""What is changed in form so that weights fit: channels, positions, biases, buffers."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from medstrata.models.importing.conversions import first_convolution
from support.foreign_files import TINY, moco_v3, monai_biases, under, vit
from support.matching import build, features, images, saved, taken, trained


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


def test_the_first_layer_is_looked_up_of_every_network_of_timm() -> None:
    assert first_convolution("resnet50") == "conv1.weight"
    assert first_convolution("csatv2") is None  # reads the image as cosines, by no convolution
    for name in timm.list_models():
        first_convolution(name)
