"""Any timm model with taps on its stages: one call gives the stage maps and the pooled features."""

from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from medstrata.errors import MedstrataError

NUM_STAGES = 4


class Features(NamedTuple):
    """What a backbone gives for a batch."""

    stages: dict[str, Tensor]  # "stage1".."stage4" -> (B, C, H, W), after the stage's last ReLU
    pooled: Tensor  # (B, D), what a classifier would read


class Backbone(nn.Module):
    """A timm model and its taps. The model is not changed: its state-dict keys stay timm's.

    Args:
        model: A timm model without classifier (`num_classes=0`).
        taps: For each stage, its index among the model's `forward_intermediates`.
        stage_channels: For each stage, the channels of its maps.
    """

    def __init__(
        self, model: nn.Module, taps: dict[str, int], stage_channels: dict[str, int]
    ) -> None:
        super().__init__()
        # timm types none of its models' methods.
        self.model: Any = model
        self.taps = taps
        self.stage_channels = stage_channels
        # Not num_features: MobileNetV3 and VGG widen the pooled features once more.
        self.embed_dim = int(cast(Any, model).head_hidden_size)

    def forward(self, images: Tensor) -> Features:
        """Features of images of shape (B, channels, H, W), normalised as the run's settings say."""
        final, maps = self.model.forward_intermediates(images, indices=list(self.taps.values()))
        pooled = self.model.forward_head(final, pre_logits=True)
        return Features(dict(zip(self.taps, maps, strict=True)), pooled)


def stage_taps(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Pick four taps: the last of each resolution, or the quarters of an isotropic model."""
    info = list(
        model.feature_info.info if hasattr(model.feature_info, "info") else model.feature_info
    )
    if len({entry["reduction"] for entry in info}) == 1:
        indices = [len(info) * (quarter + 1) // NUM_STAGES - 1 for quarter in range(NUM_STAGES)]
    else:
        indices = list(range(len(info)))[-NUM_STAGES:]
    names = [f"stage{number + 1}" for number in range(len(indices))]
    return dict(zip(names, indices, strict=True)), {
        name: info[index]["num_chs"] for name, index in zip(names, indices, strict=True)
    }


def create_backbone(
    name: str,
    *,
    in_channels: int,
    image_size: int,
    weights: str | None = None,
    zero_init_residual: bool = True,
) -> Backbone:
    """Build a timm model with stage taps.

    Args:
        name: timm's name, such as `resnet50`, `convnext_tiny`, `vit_small_patch16_224`.
        in_channels: 1 or 3. Three-channel weights are summed for one channel, as timm does.
        image_size: Side of the input in pixels; only models of fixed input size need it.
        weights: None for random; `imagenet` for timm's default weights, which needs the network
            or timm's cache; else a local .safetensors or .pth file with timm's keys (which
            torchvision's ResNet and DenseNet share), matched strictly but for the classifier.
        zero_init_residual: Start each residual block as the identity (He et al. 2019,
            arXiv:1812.01187, section 3.1), where the model has the option.

    Raises:
        MedstrataError: the name is unknown, the model has no taps, or the weights do not fit.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name}*")[:5]) or "see timm.list_models()"
        raise MedstrataError(f"backbone {name!r} is not a timm model; near: {near}")
    options: dict[str, Any] = {}
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        raise MedstrataError(f"backbone {name!r} is not a timm model: {error}") from error
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    if name.partition(".")[0] in timm.list_models(module="resnet"):
        options["zero_init_last"] = zero_init_residual
    try:
        model = timm.create_model(
            name, num_classes=0, in_chans=in_channels, pretrained=weights == "imagenet", **options
        )
    except (OSError, RuntimeError) as error:
        if weights != "imagenet":
            raise
        raise MedstrataError(
            f"ImageNet weights of {name} could not be had ({type(error).__name__}); without a "
            "network give a local file instead: imagenet=/path/to/weights.safetensors"
        ) from error
    if not hasattr(model, "forward_intermediates"):
        raise MedstrataError(f"timm's {name} offers no intermediate features; choose another")
    if weights not in (None, "imagenet"):
        load_weights(model, Path(weights))
    return Backbone(model, *stage_taps(model))


def load_weights(model: nn.Module, path: Path) -> None:
    """Load a local weights file into a timm model: every key must match, but for the classifier.

    Three-channel first layers are summed over the channels for a one-channel model, so that a
    grey image gives what it gave as three equal channels.

    Raises:
        MedstrataError: the file is missing, is not plain tensors, or does not fit the model.
    """
    if not path.is_file():
        raise MedstrataError(f"no weights file at {path}")
    try:
        state = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # each format fails in its own way
        # PyTorch's own words advise to load without protection.
        raise MedstrataError(
            f"{path} cannot be read as weights ({type(error).__name__}); give a .safetensors file, "
            "or a state dict of plain tensors written by torch.save"
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not (isinstance(state, dict) and all(torch.is_tensor(value) for value in state.values())):
        raise MedstrataError(f"{path} holds no state dict of tensors; give the weights alone")
    expected = model.state_dict()
    state = {
        key: value.sum(1, keepdim=True)
        if key in expected
        and value.ndim == 4
        and value.shape[1] == 3
        and expected[key].shape[1] == 1
        else value
        for key, value in state.items()
    }
    missing = sorted(expected.keys() - state.keys())
    extra = sorted(state.keys() - expected.keys())
    classifier = tuple(f"{part}." for part in ("fc", "head", "classifier"))
    unknown = [key for key in extra if not key.startswith(classifier)]
    wrong = [
        key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape
    ]
    if missing or unknown or wrong:
        raise MedstrataError(
            f"{path} does not fit the backbone: missing {len(missing)} {missing[:3]}, "
            f"unknown {len(unknown)} {unknown[:3]}, of other shape {len(wrong)} {wrong[:3]}"
        )
    model.load_state_dict({key: state[key] for key in expected}, strict=True)
