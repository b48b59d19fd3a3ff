"""Checkpoints as other programs write them, each around a network that is known.

Where a program installs beside this PyTorch its own classes make the file; the others are built key
by key as their source says, which stands beside them.
"""

import re
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

State = dict[str, Tensor]
TINY = "vit_tiny_patch16_224"


class Foreign(NamedTuple):
    """A checkpoint and what it must give."""

    content: Any
    network: nn.Module  # image -> pooled features, or taken apart by `pooled`
    backbone: str
    said: str  # of the layout
    channels: int = 3
    pooled: Callable[[Any, Tensor], Tensor] = lambda network, image: network(image)
    size: int = 64


def randomised(network: nn.Module) -> nn.Module:
    """Weights and statistics away from their start, so that each tensor shows in the output."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5)
            elif name.endswith(("running_mean", "bias")):
                value.uniform_(-0.2, 0.2)
    return network.eval()


def resnet(seed: int = 0) -> nn.Module:
    """A torchvision ResNet-18 without classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = torchvision.models.resnet18(weights=None)
    network.fc = nn.Identity()
    return randomised(network)


def vit(name: str = TINY, size: int = 64, **options: Any) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return randomised(timm.create_model(name, num_classes=0, img_size=size, **options))


QUERY, KEY = resnet(0), resnet(1)


def under(prefix: str, network: nn.Module | State) -> State:
    state = network.state_dict() if isinstance(network, nn.Module) else network
    return {f"{prefix}{name}": value for name, value in state.items()}


def head(prefix: str, *layers: int) -> State:
    """A head of linear layers with these numbers in their Sequential."""
    numbers = [f"{number}." for number in layers] or [""]
    return {
        f"{prefix}.{number}{kind}": torch.zeros(4)
        for number in numbers
        for kind in ("weight", "bias")
    }


def with_classifier(network: nn.Module, classifier: str, backbone: str, **options: Any) -> Foreign:
    """A whole network, whose file holds a classifier that its features go past."""
    state = dict(network.state_dict())
    network.set_submodule(classifier, nn.Identity())
    return Foreign(state, network, backbone, **options)


def of_query(content: Any, said: str) -> Foreign:
    return Foreign(content, QUERY, "resnet18", said)


# --- Made by the program itself ---------------------------------------------------------------


def torchvision_resnet() -> Foreign:
    with torch.random.fork_rng(devices=[]):
        network = randomised(torchvision.models.resnet18(weights=None))
    return with_classifier(network, "fc", "resnet18", said="plain layout")


def torchvision_densenet(*, old: bool) -> Foreign:
    with torch.random.fork_rng(devices=[]):
        network = randomised(torchvision.models.densenet121(weights=None))
    foreign = with_classifier(network, "classifier", "densenet121", said="plain layout")
    if old:
        # The files that torchvision offers were written before PyTorch 0.4.1: norm.1 for norm1,
        # and no count of batches (torchvision/models/densenet.py renames on loading).
        state = {
            re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
            for name, value in foreign.content.items()
            if not name.endswith("num_batches_tracked")
        }
        return foreign._replace(content=state)
    return foreign


def monai_names() -> Foreign:
    """A DenseNet named as MONAI's, where MONAI's own is made in the slow tests alone."""
    foreign = torchvision_densenet(old=False)
    state = {
        re.sub(r"(denselayer\d+)\.", r"\1.layers.", name): value
        for name, value in foreign.content.items()
        if not name.startswith("classifier.")
    }
    return foreign._replace(content={**state, **head("class_layers.out")})


def monai_biases() -> Foreign:
    """A ResNet with biases before BatchNorm, as MONAI's has them in its short cuts."""
    network: Any = resnet(2)
    for stage in (network.layer2, network.layer3, network.layer4):
        plain = stage[0].downsample[0]
        stage[0].downsample[0] = nn.Conv2d(plain.in_channels, plain.out_channels, 1, stride=2)
    randomised(network)
    return Foreign(dict(network.state_dict()), network, "resnet18", "plain layout")


def torchvision_vit() -> Foreign:
    with torch.random.fork_rng(devices=[]):
        network = randomised(
            torchvision.models.VisionTransformer(
                image_size=64,
                patch_size=16,
                num_layers=12,
                num_heads=3,
                hidden_dim=192,
                mlp_dim=768,
            )
        )
    return with_classifier(network, "heads", TINY, said="torchvision ViT layout")


def timm_saver(folder: Any, *, averaged: bool) -> Foreign:
    """What timm's training script saves, with an average of the weights."""
    from timm.utils import CheckpointSaver, ModelEmaV3

    network = timm.create_model("resnet18", num_classes=5)
    network.load_state_dict(KEY.state_dict(), strict=False)
    average = ModelEmaV3(network)
    average.module.load_state_dict(QUERY.state_dict(), strict=False)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    saver = CheckpointSaver(
        network, optimizer, model_ema=average, checkpoint_dir=str(folder), recovery_dir=str(folder)
    )
    saver.save_checkpoint(0, metric=0.5)
    content = torch.load(folder / "last.pth.tar", weights_only=True)
    network = QUERY if averaged else KEY
    return Foreign(
        content, network, "resnet18", "plain layout, " + ("averaged" if averaged else "main")
    )


def data_parallel() -> Foreign:
    return of_query({"state_dict": nn.DataParallel(QUERY).state_dict()}, "plain layout")


def averaged_model() -> Foreign:
    return of_query(AveragedModel(QUERY).state_dict(), "plain layout")


def lightly_moco() -> Foreign:
    """A MoCo as lightly's examples build it, the backbone cut out of a ResNet."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightly.models.modules import MoCoProjectionHead

    class MoCo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = nn.Sequential(*list(QUERY.children())[:-1])
            self.projection_head = MoCoProjectionHead(512, 512, 128)
            self.backbone_momentum = nn.Sequential(*list(KEY.children())[:-1])
            self.projection_head_momentum = MoCoProjectionHead(512, 512, 128)

    return of_query({"state_dict": MoCo().state_dict()}, "lightly layout, backbone encoder")


def lightly_dino() -> Foreign:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightly.models.modules import DINOProjectionHead

    class DINO(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.student_backbone, self.teacher_backbone = QUERY, KEY
            self.student_head = DINOProjectionHead(512, 64, 32, 64)
            self.teacher_head = DINOProjectionHead(512, 64, 32, 64)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = DINO()
    return of_query({"state_dict": network.state_dict()}, "lightly layout, backbone encoder")


def monai_resnet() -> Foreign:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.networks.nets import ResNet

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = randomised(
            ResNet(
                "bottleneck",
                [3, 4, 6, 3],
                [64, 128, 256, 512],
                spatial_dims=2,
                n_input_channels=1,
                conv1_t_stride=2,
                num_classes=3,
            )
        )
    return with_classifier(network, "fc", "resnet50", said="plain layout", channels=1)


def monai_densenet() -> Foreign:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monai.networks.nets import DenseNet121

    with torch.random.fork_rng(devices=[]):
        network = randomised(DenseNet121(spatial_dims=2, in_channels=1, out_channels=2))
    return with_classifier(
        network, "class_layers.out", "densenet121", said="plain layout", channels=1
    )


def xray_densenet() -> Foreign:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import torchxrayvision

        with torch.random.fork_rng(devices=[]):
            network: Any = torchxrayvision.models.DenseNet(weights=None, op_threshs=torch.rand(18))
    randomised(network)
    return Foreign(
        dict(network.state_dict()),
        network,
        "densenet121",
        "torchxrayvision layout",
        channels=1,
        pooled=lambda network, image: network.features2(image),
    )


# --- Built as the program's source says --------------------------------------------------------


def compiled() -> Foreign:
    """torch.compile: OptimizedModule keeps the network as `_orig_mod`; here within DDP."""
    return of_query(under("module._orig_mod.", QUERY), "plain layout")


def moco(version: int) -> Foreign:
    """facebookresearch/moco: main_moco.py saves under DistributedDataParallel, builder.py names."""
    numbers = (0, 2) if version == 2 else ()
    state = {
        **under("module.encoder_q.", QUERY),
        **head("module.encoder_q.fc", *numbers),
        **under("module.encoder_k.", KEY),
        **head("module.encoder_k.fc", *numbers),
        "module.queue": torch.zeros(128, 8),
        "module.queue_ptr": torch.zeros(1, dtype=torch.long),
    }
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.03}]}
    content = {"epoch": 200, "arch": "resnet18", "state_dict": state, "optimizer": optimizer}
    said = "MoCo v2 layout" if version == 2 else "MoCo layout"
    return of_query(content, f"{said}, query encoder")


def paper() -> Foreign:
    """The authors' Moco_v2, a LightningModule: encoder_q, encoder_k, queue, projectors p1 to p4."""
    state = {
        **under("encoder_q.", QUERY),
        **head("encoder_q.fc"),
        **under("encoder_k.", KEY),
        "queue": torch.zeros(128, 8),
        "p1.projector.0.weight": torch.zeros(4, 4),
    }
    content = {"epoch": 9, "pytorch-lightning_version": "1.0.2", "state_dict": state}
    return of_query(content, "MoCo in Lightning layout, query encoder")


def moco_v3() -> Foreign:
    """facebookresearch/moco-v3: moco/builder.py; the projector takes the place of fc."""
    state = {
        **under("module.base_encoder.", QUERY),
        **head("module.base_encoder.fc", 0, 3),
        **under("module.momentum_encoder.", KEY),
        **head("module.predictor", 0, 3),
    }
    return of_query({"state_dict": state}, "MoCo v3 layout, base encoder")


def solo_learn(*, old: bool) -> Foreign:
    """solo-learn: methods/base.py; 1.0.2 of PyPI says encoder where main says backbone."""
    name = "encoder" if old else "backbone"
    state = {
        **under(f"{name}.", QUERY),
        **head("classifier"),
        **head("projector", 0, 2),
        **under(f"momentum_{name}.", KEY),
        **head("momentum_projector", 0, 2),
    }
    content = {"pytorch-lightning_version": "1.6.4", "state_dict": state, "loops": {}}
    return of_query(content, "solo-learn layout, backbone encoder")


def stable_pretraining() -> Foreign:
    """stable-pretraining 0.1.8: TeacherStudentWrapper of backbone/utils.py, callbacks_modules."""
    state = {
        **under("backbone.teacher.", QUERY),
        **under("backbone.student.", KEY),
        "backbone.ema_coefficient": torch.zeros(()),
        "backbone.base_ema_coefficient": torch.zeros(()),
        **head("projector.student", 0, 2),
        **head("callbacks_modules.linear_probe"),
    }
    return of_query({"state_dict": state}, "stable-pretraining layout, teacher encoder")


def stable_pretraining_simclr() -> Foreign:
    """The same with one network: methods/simclr.py and an online probe."""
    state = {
        **under("backbone.", QUERY),
        **head("projector", 0, 2),
        **head("callbacks_modules.linear_probe"),
    }
    return of_query({"state_dict": state}, "stable-pretraining layout, backbone encoder")


def checkpoint_of_a_run() -> Foreign:
    """This program's own, of pre-training: pretraining/checkpoint.py."""
    state = {
        **under("query_encoder.backbone.model.", QUERY),
        **under("key_encoder.backbone.model.", KEY),
        **head("query_encoder.head", 0, 2),
        **head("key_encoder.head", 0, 2),
    }
    content = {"settings": {"recipe": "fair/moco"}, "step": 3, "model": state, "draws": 2}
    return of_query(content, "checkpoint of a run layout, query encoder")


def dino() -> Foreign:
    """facebookresearch/dino: main_dino.py; the student under DDP, both in a MultiCropWrapper."""
    network = vit()
    content = {
        "student": {**under("module.backbone.", vit(depth=1)), **head("module.head.mlp", 0, 2)},
        "teacher": {**under("backbone.", network), **head("head.mlp", 0, 2)},
        "epoch": 100,
    }
    return Foreign(content, network, TINY, "DINO layout, teacher encoder")


def dinov2(*, registers: bool) -> Foreign:
    """facebookresearch/dinov2: teacher_checkpoint.pth, blocks in chunks, a mask token, registers.

    There the class token has a place among the positions also with registers, which timm has not.
    """
    name = "vit_small_patch14_reg4_dinov2" if registers else "vit_small_patch14_dinov2"
    network = vit(name, size=56)
    state = {
        re.sub(
            r"^blocks\.(\d+)\.", lambda found: f"blocks.{int(found[1]) // 3}.{found[1]}.", key
        ): value
        for key, value in network.state_dict().items()
    }
    state["mask_token"] = torch.zeros(1, 384)
    if registers:
        state["register_tokens"] = state.pop("reg_token")
        place = torch.full((1, 1, 384), 0.3)
        state["cls_token"] = state["cls_token"] - place
        state["pos_embed"] = torch.cat([place, state["pos_embed"]], 1)
    content = {"teacher": {**under("backbone.", state), **head("dino_head.mlp", 0, 2)}}
    return Foreign(content, network, name, "DINOv2 layout, teacher encoder", size=56)


def mae() -> Foreign:
    """facebookresearch/mae: models_mae.py, saved by util/misc.py under `model`."""
    network = vit()
    state = {
        **network.state_dict(),
        "mask_token": torch.zeros(1, 1, 64),
        "decoder_pos_embed": torch.zeros(1, 17, 64),
        **head("decoder_embed"),
        **head("decoder_blocks.0.norm1"),
        **head("decoder_norm"),
        **head("decoder_pred"),
    }
    return Foreign({"model": state, "epoch": 3}, network, TINY, "MAE layout")


def vissl() -> Foreign:
    """facebookresearch/vissl: extra_scripts/convert_vissl_to_torchvision.py says where it lies."""
    model = {"trunk": under("_feature_blocks.", QUERY), "heads": head("0.clf", 0, 2)}
    return of_query({"classy_state_dict": {"base_model": {"model": model}}}, "VISSL layout")


def byol() -> Foreign:
    """sthalles/PyTorch-BYOL: trainer.py saves two states, the encoder cut out of a ResNet."""
    online = nn.Sequential(*list(QUERY.children())[:-1])
    target = nn.Sequential(*list(KEY.children())[:-1])
    content = {
        "online_network_state_dict": {**under("encoder.", online), **head("projetion.net", 0, 3)},
        "target_network_state_dict": {**under("encoder.", target), **head("projetion.net", 0, 3)},
    }
    return of_query(content, "BYOL layout, online encoder")


def byol_pytorch() -> Foreign:
    """lucidrains/byol-pytorch: NetWrapper keeps the network as `net`."""
    state = {
        **under("online_encoder.net.", QUERY),
        **head("online_encoder.projector", 0, 3),
        **under("target_encoder.net.", KEY),
        **head("online_predictor", 0, 3),
    }
    return of_query(state, "BYOL layout, online encoder")


def simclr() -> Foreign:
    """sthalles/SimCLR: the projection replaces the classifier of `backbone`."""
    state = {**under("backbone.", QUERY), **head("backbone.fc", 0, 2)}
    return of_query({"state_dict": state, "arch": "resnet18"}, "prefixed layout")


def simsiam() -> Foreign:
    """facebookresearch/simsiam: `encoder` with the projector as fc, `predictor`."""
    state = {
        **under("module.encoder.", QUERY),
        **head("module.encoder.fc", 0, 3),
        **head("module.predictor", 0, 3),
    }
    return of_query({"state_dict": state}, "prefixed layout")


def barlow_twins() -> Foreign:
    """facebookresearch/barlowtwins: `model` under DDP with backbone and projector."""
    state = {**under("module.backbone.", QUERY), **head("module.projector", 0, 3)}
    return of_query({"epoch": 1, "model": state}, "prefixed layout")


def swav() -> Foreign:
    """facebookresearch/swav: the ResNet itself has projection_head and prototypes."""
    state = {
        **under("module.", QUERY),
        **head("module.projection_head", 0, 3),
        "module.prototypes.weight": torch.zeros(4, 4),
    }
    return of_query(state, "plain layout")


FILES: dict[str, Callable[[], Foreign]] = {
    "torchvision ResNet": torchvision_resnet,
    "torchvision DenseNet": lambda: torchvision_densenet(old=False),
    "torchvision DenseNet, old file": lambda: torchvision_densenet(old=True),
    "torchvision ViT": torchvision_vit,
    "DataParallel": data_parallel,
    "torch.compile": compiled,
    "AveragedModel": averaged_model,
    "lightly MoCo": lightly_moco,
    "lightly DINO": lightly_dino,
    "MONAI's biases": monai_biases,
    "MONAI's DenseNet names": monai_names,
    "torchxrayvision DenseNet": xray_densenet,
    "MoCo v1": lambda: moco(1),
    "MoCo v2": lambda: moco(2),
    "MoCo v3": moco_v3,
    "the paper": paper,
    "solo-learn": lambda: solo_learn(old=False),
    "solo-learn 1.0.2": lambda: solo_learn(old=True),
    "stable-pretraining": stable_pretraining,
    "stable-pretraining SimCLR": stable_pretraining_simclr,
    "checkpoint of a run": checkpoint_of_a_run,
    "DINO": dino,
    "DINOv2": lambda: dinov2(registers=False),
    "DINOv2 with registers": lambda: dinov2(registers=True),
    "MAE": mae,
    "VISSL": vissl,
    "BYOL": byol,
    "byol-pytorch": byol_pytorch,
    "SimCLR": simclr,
    "SimSiam": simsiam,
    "Barlow Twins": barlow_twins,
    "SwAV": swav,
}

# MONAI takes eight seconds to import.
SLOW_FILES: dict[str, Callable[[], Foreign]] = {
    "MONAI ResNet": monai_resnet,
    "MONAI DenseNet": monai_densenet,
}
