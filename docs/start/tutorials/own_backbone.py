"""A backbone of your own: anything that timm can build."""

from pathlib import Path

from medstrata.data.synthetic.chest import make_images

make_images(Path("cxr"), images=64, size=32)

# --8<-- [start:known]
from medstrata.models.backbones import create_backbone

for name in ("resnet10t", "convnext_atto", "test_vit"):
    network = create_backbone(name, in_channels=1, image_size=32)
    print(name, network.embed_dim, network.stage_channels)
# --8<-- [end:known]

# --8<-- [start:register]
from timm.models import build_model_with_cfg, register_model
from timm.models.resnet import BasicBlock, ResNet


@register_model
def narrow_resnet(pretrained: bool = False, **options: object) -> ResNet:
    """A ResNet of a quarter of the usual width."""
    shape = {"block": BasicBlock, "layers": (1, 1, 1, 1), "channels": (16, 32, 64, 128)}
    return build_model_with_cfg(ResNet, "narrow_resnet", pretrained, **{**shape, **options})


# --8<-- [end:register]

# --8<-- [start:pretrain]
import medstrata as ms

store = ms.prepare("cxr/images", "cxr.store", ms.PrepareSettings(size=32))
settings = ms.recipe("fair/moco_mse", backbone="narrow_resnet", epochs=1, batch_size=16)
run = ms.pretrain(store, settings, "runs/narrow")
# --8<-- [end:pretrain]
assert (run / "exported" / "backbone.safetensors").stat().st_size < 2e6
