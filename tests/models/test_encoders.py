"""An encoder that was written loads, fine-tunes and exports, whatever timm names its tensors."""

import json
from pathlib import Path

import pytest
import timm
import torch

from medstrata.data.store.store import Store
from medstrata.data.view_settings import mild
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.exporting.export import export
from medstrata.models.backbones import create_backbone
from medstrata.models.encoders import (
    LoadedEncoder,
    encoder_digest,
    export_backbone,
    load_foreign,
    load_run,
)
from medstrata.models.importing.find_encoder import find_encoder
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
    "test_byobnet",
    "mobilenetv4_conv_small",
)
# Their tensors are named `blocks.1.0.`, as those of DINOv2 in chunks.
BLOCKS_IN_STAGES = (
    "test_efficientnet",
    "tf_efficientnet_lite0",
    "mobilenetv3_small_050",
    "mnasnet_050",
    "ghostnet_050",
    "mobilenetv4_conv_small",
)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_was_written_loads_is_tuned_and_exported(
    name: str, tiny_store: Store, tmp_path: Path
) -> None:
    with torch.random.fork_rng(devices=[]):
        backbone = create_backbone(name, in_channels=1, image_size=32)
    written = LoadedEncoder("arm", name, backbone, identity(32, 1))
    export_backbone(tmp_path / "exported", written)
    loaded = load_run(tmp_path)
    assert encoder_digest(loaded) == encoder_digest(written)
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pooled = [one.backbone.eval()(images).pooled for one in (written, loaded)]
    assert torch.equal(*pooled)

    settings = FinetuneSettings(  # two steps: a head that starts at zero sends no gradient back
        epochs=1,
        min_steps=1,
        batch_size=15,
        head="zero",
        lr=1e-3,
        precision="fp32",
        resamples=10,
        views=mild(32),
    )
    tuned = finetune(tmp_path, tiny_store, "finding", 1.0, tmp_path / "tuned", settings)
    assert encoder_digest(load_run(tuned)) != encoder_digest(written)
    # The export is loaded again by timm, and must give the same as the run.
    out = export(tuned, "timm", tmp_path / "out")
    assert json.loads((out / "config.json").read_text())["architecture"] == name


@pytest.mark.parametrize("name", BLOCKS_IN_STAGES)
def test_a_foreign_file_of_timms_names_is_taken_as_it_stands(name: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        whole = timm.create_model(name, num_classes=3)
    torch.save({"state_dict": whole.state_dict()}, tmp_path / "foreign.pth")
    loaded, matched = load_foreign(find_encoder(tmp_path / "foreign.pth"), name)
    assert matched.dropped
    for key, value in loaded.backbone.model.state_dict().items():
        assert torch.equal(value, whole.state_dict()[key])
