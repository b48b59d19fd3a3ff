"""An encoder that was written loads again, whatever timm names its tensors."""

from pathlib import Path

import pytest
import torch

from medstrata.models.backbones import create_backbone
from medstrata.models.encoders import LoadedEncoder, encoder_digest, export_backbone, load_run
from medstrata.models.preprocessing import identity

# One small network of each family.
FAMILIES = (
    "test_resnet",
    "test_efficientnet",
    "test_convnext",
    "test_vit",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "mnasnet_050",
    "ghostnet_050",
    "regnetx_002",
    "densenet121",
    "vgg11",
    "mobilenetv4_conv_small",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_written_loads_as_it_was(name: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        backbone = create_backbone(name, in_channels=1, image_size=32)
    written = LoadedEncoder("arm", name, backbone, identity(32, 1))
    export_backbone(tmp_path / "exported", written)
    loaded = load_run(tmp_path)
    assert encoder_digest(loaded) == encoder_digest(written)
    images = torch.rand(2, 1, 32, 32)
    with torch.no_grad():
        pooled = [one.backbone.eval()(images).pooled for one in (written, loaded)]
    assert torch.equal(*pooled)
