"""From your own folder of images to a backbone that loads in timm."""

from pathlib import Path

from medstrata.data.synthetic.chest import make_images

make_images(Path("mine"), images=96, size=64)  # stands for your folder

# --8<-- [start:prepare]
import medstrata as ms

store = ms.prepare(
    "mine/images", "mine.store", ms.PrepareSettings(labels="mine/labels.csv", size=64)
)
print(len(store), "images;", len(store.rows("train")), "of them to train on")
# --8<-- [end:prepare]

# --8<-- [start:pretrain]
settings = ms.recipe(
    "fair/moco_mse",
    backbone="resnet10t",  # resnet50 for real
    epochs=2,  # 200 for real
    batch_size=16,
    seed=0,
)
run = ms.pretrain(store, settings, "runs/mse")
# --8<-- [end:pretrain]

# --8<-- [start:load]
import timm
from safetensors.torch import load_file

backbone = timm.create_model("resnet10t", num_classes=0, in_chans=store.channels)
backbone.load_state_dict(load_file(run / "exported" / "backbone.safetensors"))  # strict
# --8<-- [end:load]

# --8<-- [start:finetune]
few = ms.FinetuneSettings(epochs=1, min_steps=4)  # the defaults for real
scored = ms.finetune(str(run), store, "finding", 0.25, "runs/mse-25", few)
ms.finetune("scratch", store, "finding", 0.25, "runs/scratch-25", few, backbone="resnet10t")
print(ms.write_report(["runs"], "report.html", files=False))
# --8<-- [end:finetune]
