"""What pre-training may start from: a run, a file, ImageNet's weights; the network is checked."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from torch import Tensor

from medstrata.data.store.store import Store
from medstrata.models.backbones import create_backbone
from medstrata.pretraining.build import build
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.sizing import resolve
from medstrata.runtime.errors import MedstrataError

# Small ones of timm's families, the EfficientNets first.
FAMILIES = (
    "tf_efficientnet_lite0",
    "efficientnet_b0",
    "test_efficientnet",
    "mobilenetv3_small_050",
    "ghostnet_050",
    "regnetx_002",
    "densenet121",
    "convnext_atto",
    "test_resnet",
    "test_vit",
)


def state(name: str, in_channels: int = 3) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        backbone = create_backbone(name, in_channels=in_channels, image_size=32)
    return {key: value.contiguous() for key, value in backbone.model.state_dict().items()}


def started(weights: str, store: Store, folder: Path, backbone: str = "test_resnet", **how: object):
    settings = recipe(
        "fair/moco", backbone=backbone, batch_size=8, weights=weights, **{"in_channels": 3, **how}
    )
    resolved = resolve(settings, store, len(store))
    training = build(Accelerator(cpu=True), resolved, store, store.rows(), folder)
    return training.model.query_encoder.backbone.model.state_dict()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("as_imagenet", [True, False])
def test_a_file_of_every_family_is_taken(
    family: str, as_imagenet: bool, tiny_store: Store, tmp_path: Path
) -> None:
    file = tmp_path / "w.safetensors"
    given = state(family)
    save_file(given, file)
    weights = f"imagenet={file}" if as_imagenet else str(file)
    taken = started(weights, tiny_store, tmp_path, family)
    assert all(torch.equal(value, given[name]) for name, value in taken.items())


def test_a_run_is_taken_and_its_network_checked(
    tiny_store: Store, encoder: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    given = load_file(encoder / "exported" / "backbone.safetensors")
    taken = started(str(encoder), tiny_store, tmp_path, in_channels=1)
    assert all(torch.equal(value, given[name]) for name, value in taken.items())
    with pytest.raises(MedstrataError, match="holds a test_resnet, not a convnext_atto"):
        started(str(encoder), tiny_store, tmp_path, "convnext_atto")


def test_a_grey_run_starts_a_colour_one(tiny_store: Store, encoder: Path, tmp_path: Path) -> None:
    assert started(str(encoder), tiny_store, tmp_path)["conv1.0.weight"].shape[1] == 3


def test_timms_own_weights_are_asked_for(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def keep(name: str, *, pretrained: bool = False, **options: object):
        asked.append(pretrained)
        return create_backbone(name, **options)

    monkeypatch.setattr("medstrata.pretraining.build.create_backbone", keep)
    started("imagenet", tiny_store, tmp_path)
    started("scratch", tiny_store, tmp_path)
    assert asked == [True, False]


@pytest.mark.parametrize(
    ("weights", "said"),
    [("imagenet=", "is none"), ("nowhere", "nowhere"), ("imagenet=nowhere.pth", "nowhere.pth")],
)
def test_what_is_not_there_is_one_line(
    weights: str, said: str, tiny_store: Store, tmp_path: Path
) -> None:
    with pytest.raises(MedstrataError, match=said):
        started(weights, tiny_store, tmp_path)


def test_weights_of_another_network_are_refused(tiny_store: Store, tmp_path: Path) -> None:
    save_file(state("test_efficientnet"), tmp_path / "w.safetensors")
    with pytest.raises(MedstrataError, match="does not fit test_resnet"):
        started(str(tmp_path / "w.safetensors"), tiny_store, tmp_path)
