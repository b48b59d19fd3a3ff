"""Any timm model with taps on its stages: one call gives the stage maps and the pooled features."""

import difflib
import re
from typing import Any, NamedTuple, cast

import timm
import torch
from torch import Tensor, nn

from medstrata.models.importing.conversions import timm_config
from medstrata.models.importing.find_encoder import EncoderInFile
from medstrata.models.importing.match import Match, match
from medstrata.models.stages import STAGES
from medstrata.runtime.console import say, warn
from medstrata.runtime.errors import MedstrataError, is_out_of_memory, one_line


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
        quarters = range(1, len(STAGES) + 1)
        indices = [len(info) * quarter // len(STAGES) - 1 for quarter in quarters]
    else:
        indices = list(range(len(info)))[-len(STAGES) :]
    names = STAGES[: len(indices)]
    return dict(zip(names, indices, strict=True)), {
        name: info[index]["num_chs"] for name, index in zip(names, indices, strict=True)
    }


def timm_name(name: str) -> str:
    """A network by timm's name, without the place where its hub keeps it.

    Args:
        name: Such as `resnet50`, `timm/resnet50.a1_in1k` or `hf-hub:timm/resnet50.a1_in1k`.

    Raises:
        MedstrataError: timm has none of that name; named are those that are near it.
    """
    bare = re.sub(r"^(?:hf[-_]hub:)?timm/", "", name)
    if timm.is_model(bare):
        return bare
    near = ", ".join(_near_names(bare)[:5]) if bare else ""
    there = f"near: {near}" if near else "timm.list_models() names those there are"
    raise MedstrataError(f"backbone {name!r} is not a timm model; {there}")


def _near_names(name: str) -> list[str]:
    """Of timm's names those that could be meant, the likeliest first."""
    squashed = {re.sub(r"[\W_]", "", one): one for one in timm.list_models()}
    wanted = re.sub(r"[\W_]", "", name.lower())
    found = sorted((one for one in squashed if wanted in one), key=len)
    found = found or difflib.get_close_matches(wanted, squashed, n=5, cutoff=0.8)
    for word in sorted(re.findall(r"[a-z]+\d*", name.lower()), key=len, reverse=True):
        within = [one for one in squashed if word in one]
        found = found or sorted(within, key=lambda one: (not one.startswith(word), len(one)))
    return [squashed[one] for one in found]


def create_backbone(
    name: str,
    *,
    in_channels: int,
    image_size: int,
    pretrained: bool = False,
    zero_init_residual: bool = True,
) -> Backbone:
    """Build a timm model with stage taps.

    Args:
        name: timm's name, such as `resnet50`, `convnext_tiny`, `vit_small_patch16_224`.
        in_channels: 1 or 3. Three-channel weights are summed for one channel, as timm does.
        image_size: Side of the input in pixels, which the model must take.
        pretrained: Start from timm's default weights, which needs the network or timm's cache.
        zero_init_residual: Start each residual block as the identity (He et al. 2019,
            arXiv:1812.01187, section 3.1), where the model has the option.

    Raises:
        MedstrataError: the name is unknown, the model has no taps or takes no images of that size,
            or the weights cannot be had.
    """
    name = timm_name(name)
    options: dict[str, Any] = {}
    config = timm_config(name)
    if config is not None and config.fixed_input_size:
        options["img_size"] = image_size
    if name.partition(".")[0] in timm.list_models(module="resnet"):
        options["zero_init_last"] = zero_init_residual
    try:
        model = timm.create_model(
            name, num_classes=0, in_chans=in_channels, pretrained=pretrained, **options
        )
    except (OSError, RuntimeError) as error:
        if not pretrained or is_out_of_memory(error):
            raise
        raise MedstrataError(
            f"ImageNet weights of {name} could not be had ({type(error).__name__}); without a "
            "network give a local file instead: imagenet=/path/to/weights.safetensors"
        ) from error
    if not hasattr(model, "forward_intermediates"):
        raise MedstrataError(f"timm's {name} offers no intermediate features; choose another")
    backbone = Backbone(model, *stage_taps(model))
    require_input_size(backbone, name, in_channels, image_size)
    return backbone


def require_input_size(backbone: Backbone, name: str, in_channels: int, image_size: int) -> None:
    """Pass one image, before anything rests on the network: some take few sizes only.

    Args:
        backbone: Is in training mode afterwards.
        name: timm's name.
        in_channels: 1 or 3.
        image_size: Side of the input in pixels.

    Raises:
        MedstrataError: the network does not take it; named is the size that it was made for.
    """
    size = (1, in_channels, image_size, image_size)
    try:
        with torch.no_grad():
            backbone.eval()(torch.zeros(size))
    except (RuntimeError, AssertionError, ValueError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        config = timm_config(name)
        made_for = f"; it was made for {config.input_size[-1]}" if config is not None else ""
        raise MedstrataError(
            f"{name} does not take images of {image_size} pixels "
            f"({one_line(error, limit=100)}){made_for}: give another size of input, or another "
            "backbone"
        ) from error
    finally:
        backbone.train()


def load_weights(backbone: Backbone, found: EncoderInFile) -> Match:
    """Give a backbone the encoder found in a file, and say what was matched and converted.

    Raises:
        MedstrataError: the encoder does not fit; the model is as it was.
    """
    matched = match(backbone.model, found)
    say(f"{found.path.name}: {matched.line}")
    for note in matched.notes:
        say(f"{found.path.name}: {note}")
    for caution in matched.cautions:
        warn(f"{found.path.name}: {caution}")
    return matched
