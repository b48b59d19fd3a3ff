"""Stage taps of timm models."""

import copy
from typing import Any, NoReturn

import pytest
import timm
import torch
from torch import Tensor, nn

from medstrata.models.backbones import Backbone, Features, create_backbone, timm_name
from medstrata.runtime.errors import MedstrataError

# Channels of the stages, and the first stage's stride; each later stage halves the maps.
PYRAMIDS = {
    "resnet18": (64, 128, 256, 512),
    "convnext_atto": (40, 80, 160, 320),
    "efficientnet_b0": (24, 40, 112, 320),
    "mobilenetv3_small_050": (8, 16, 24, 288),  # its pooled features are widened after stage 4
    "test_resnet": (32, 48, 192, 96),
}
STAGES = ("stage1", "stage2", "stage3", "stage4")
VIT = "vit_tiny_patch16_224"


def build(name: str, **options: Any) -> Backbone:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return create_backbone(name, **{"in_channels": 1, "image_size": 32, **options})


def images(count: int, channels: int, size: int) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def features(backbone: Backbone, batch: Tensor) -> Features:
    return backbone.eval()(batch)


def the_line(caught: pytest.ExceptionInfo[MedstrataError]) -> str:
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# --- Taps ------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PYRAMIDS)
def test_stage_shapes_of_a_pyramid_at_two_sizes(name: str, channels: int) -> None:
    backbone = build(name, in_channels=channels)
    assert backbone.stage_channels == dict(zip(STAGES, PYRAMIDS[name], strict=True))
    for size in (32, 64):
        stages, pooled = features(backbone, images(2, channels, size))
        assert {stage: tuple(maps.shape) for stage, maps in stages.items()} == {
            stage: (2, width, size // stride, size // stride)
            for stage, width, stride in zip(STAGES, PYRAMIDS[name], (4, 8, 16, 32), strict=True)
        }
        assert pooled.shape == (2, backbone.embed_dim)


@pytest.mark.parametrize("channels", [1, 3])
def test_stages_of_a_transformer_are_the_quarters_of_its_depth(channels: int) -> None:
    backbone = build(VIT, in_channels=channels, image_size=48)
    assert backbone.taps == {"stage1": 2, "stage2": 5, "stage3": 8, "stage4": 11}
    assert backbone.stage_channels == dict.fromkeys(STAGES, 192)
    stages, pooled = features(backbone, images(2, channels, 48))
    assert [tuple(maps.shape) for maps in stages.values()] == [(2, 192, 3, 3)] * 4
    assert pooled.shape == (2, backbone.embed_dim)


def test_taps_are_the_outputs_of_the_residual_stages() -> None:
    backbone, batch = build("resnet18"), images(2, 1, 32)
    model, seen = backbone.model, {}
    for number in (1, 2, 3, 4):
        module = getattr(model, f"layer{number}")
        module.register_forward_hook(
            lambda *call, stage=f"stage{number}": seen.update({stage: call[2]})
        )
    stages, pooled = features(backbone, batch)
    assert list(stages) == list(STAGES)
    for stage, maps in stages.items():
        assert torch.equal(maps, seen[stage])
        assert maps.min() >= 0  # after the last ReLU
    torch.testing.assert_close(pooled, seen["stage4"].mean((2, 3)))


@pytest.mark.parametrize("name", ["resnet18", "convnext_atto", VIT, "mobilenetv3_small_050"])
def test_pooled_features_are_what_timm_gives_a_classifier(name: str) -> None:
    backbone, batch = build(name), images(2, 1, 32)
    _, pooled = features(backbone, batch)
    with torch.no_grad():
        torch.testing.assert_close(pooled, backbone.model(batch))


@pytest.mark.parametrize("name", ["test_resnet", "convnext_atto", VIT])
def test_a_deep_copy_gives_equal_features_and_shares_no_weights(name: str) -> None:
    backbone, batch = build(name), images(2, 1, 32)
    before = features(backbone, batch)
    twin = copy.deepcopy(backbone)
    with torch.no_grad():
        for parameter in backbone.parameters():
            parameter.add_(1)
    after = features(twin, batch)
    assert torch.equal(after.pooled, before.pooled)
    for stage in STAGES:
        assert torch.equal(after.stages[stage], before.stages[stage])


def test_training_and_evaluation_mode_reach_the_model() -> None:
    backbone, batch = build("test_resnet"), images(4, 1, 32)
    state = copy.deepcopy(backbone.state_dict())
    features(backbone, batch)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    backbone.train()(batch)
    changed = {
        key for key, value in backbone.state_dict().items() if not torch.equal(value, state[key])
    }
    assert changed == {key for key in state if "running_" in key or "num_batches" in key}


@pytest.mark.parametrize("name", [*PYRAMIDS, VIT])
def test_keys_of_the_model_are_timms_own(name: str) -> None:
    expected = timm.create_model(name, num_classes=0, in_chans=1).state_dict()
    assert list(build(name).model.state_dict()) == list(expected)


@pytest.mark.parametrize(("zero", "scales"), [(True, {0.0}), (False, {1.0})])
def test_residual_blocks_start_as_the_identity_when_asked(zero: bool, scales: set[float]) -> None:
    model = build("resnet18", zero_init_residual=zero).model
    last = [value for key, value in model.named_parameters() if key.endswith("bn2.weight")]
    assert len(last) == 8
    assert set(torch.cat(last).tolist()) == scales


# --- Names and ImageNet weights --------------------------------------------------------------


def test_unknown_names_are_refused_with_near_ones() -> None:
    with pytest.raises(
        MedstrataError, match=r"'resnet5' is not a timm model; near: .*resnet5"
    ) as one:
        build("resnet5")
    the_line(one)
    with pytest.raises(MedstrataError, match=r"'resnet18\.mine' is not a timm model") as two:
        build("resnet18.mine")
    the_line(two)


@pytest.mark.parametrize("place", ["", "timm/", "hf-hub:timm/", "hf_hub:timm/"])
def test_names_may_say_where_timms_hub_keeps_them(place: str) -> None:
    assert timm_name(f"{place}resnet18.a1_in1k") == "resnet18.a1_in1k"
    backbone = create_backbone(f"{place}test_resnet", in_channels=1, image_size=32)
    assert backbone.embed_dim == build("test_resnet").embed_dim


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("ResNet-10t", "resnet10t"),
        ("efficientnet-b0", "efficientnet_b0"),
        ("dinov2_vits14", "vit_small_patch14_dinov2"),
        ("mobilenet_v3_small", "mobilenetv3_small_100"),
        ("resnet10", "resnet101"),
    ],
)
def test_near_names_are_found_however_they_are_written(name: str, near: str) -> None:
    with pytest.raises(MedstrataError, match=rf"not a timm model; near: .*\b{near}\b"):
        timm_name(name)


@pytest.mark.parametrize("name", ["", "qqq"])
def test_where_none_is_near_timms_list_is_named(name: str) -> None:
    with pytest.raises(MedstrataError, match=r"timm\.list_models\(\) names those there are"):
        timm_name(name)


def test_a_network_without_memory_for_it_is_not_called_one_of_another_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> NoReturn:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9")

    monkeypatch.setattr(Backbone, "forward", full)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        build("test_resnet")


def test_a_model_without_taps_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: nn.Identity())
    with pytest.raises(MedstrataError, match="resnet18 offers no intermediate features") as caught:
        build("resnet18")
    the_line(caught)


@pytest.mark.parametrize("failure", [OSError, RuntimeError])
def test_imagenet_weights_without_a_network(
    monkeypatch: pytest.MonkeyPatch, failure: type[Exception]
) -> None:
    def offline(*_: Any, pretrained: bool, **__: Any) -> NoReturn:
        assert pretrained
        raise failure("many\nlines")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        MedstrataError, match="ImageNet weights of resnet18 could not be had"
    ) as caught:
        build("resnet18", pretrained=True)
    assert "imagenet=/path/to/weights.safetensors" in the_line(caught)


def test_only_imagenet_asks_timm_for_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []
    create = timm.create_model

    def recording(*arguments: Any, pretrained: bool, **options: Any) -> nn.Module:
        asked.append(pretrained)
        return create(*arguments, pretrained=False, **options)

    monkeypatch.setattr(timm, "create_model", recording)
    build("test_resnet")
    build("test_resnet", pretrained=True)
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("name", "size", "made_for"),
    [("inception_v3", 64, 299), ("efficientformer_l1", 64, 224), ("test_resnet", 1, None)],
)
def test_a_size_that_a_network_does_not_take_is_refused(
    name: str, size: int, made_for: int | None
) -> None:
    words = f"{name} does not take images of {size} pixels"
    if made_for is None:  # a ResNet takes any
        assert create_backbone(name, in_channels=1, image_size=size).training
    else:
        with pytest.raises(MedstrataError, match=rf"{words} \(.*\); it was made for {made_for}"):
            create_backbone(name, in_channels=1, image_size=size)
