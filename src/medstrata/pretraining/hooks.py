"""Losses on intermediate stages inside somebody else's training loop.

Hooks on the stages of a network note, pooled, what each pass gave; the module then compares the
passes of the two views. The network, its forward pass and its keys stay as they are.

Shapes: B batch, C channels, H W height and width, T tokens.
"""

from collections import deque
from collections.abc import Mapping
from math import isqrt
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from medstrata.models.backbones import stage_taps
from medstrata.models.stages import STAGES
from medstrata.pretraining.losses import IntermediateLoss, IntermediateLosses, build_intermediate
from medstrata.pretraining.settings import IntermediateSettings
from medstrata.runtime.errors import MedstrataError


class _Stage(NamedTuple):
    """A module whose output is a stage, and how its maps lie in it."""

    module: nn.Module
    channels: int
    prefix_tokens: int  # of a transformer, before those that have a place in the image


class TappedLosses(nn.Module):
    """The intermediate losses of the two latest passes through a network, or two networks.

    Passes in evaluation mode are not noted. Losses with weights (Barlow Twins' projectors) have
    parameters of their own: give them to the optimizer too.

    Args:
        losses: One a stage.
        query: The stages of the network that learns, the same names.
        key: The same of a momentum encoder; None where both views pass through one network.
    """

    def __init__(
        self,
        losses: IntermediateLosses,
        query: Mapping[str, _Stage],
        key: Mapping[str, _Stage] | None,
    ) -> None:
        super().__init__()
        self.losses = losses
        self._depth = 2 if key is None else 1
        # One place more than is wanted: that there were too many passes must show.
        self._passes: dict[str, deque[Tensor]] = {
            stage: deque(maxlen=self._depth + 1) for stage in query
        }
        self._key_passes: dict[str, deque[Tensor]] = {stage: deque(maxlen=2) for stage in key or {}}
        self._hooks = [
            _tap(stages[name], losses, name, noted[name])
            for stages, noted in ((query, self._passes), (key or {}, self._key_passes))
            for name in noted
        ]

    def forward(self) -> Tensor:
        """The weighted sum over the stages, scalar, of the passes since the last call.

        Raises:
            MedstrataError: there were not two passes in training mode, one through each network
                where there are two.
        """
        first, second = {}, {}
        for stage, passes in self._passes.items():
            keys = self._key_passes.get(stage, deque())
            seen = _counted(passes, self._depth)
            if self._key_passes:
                seen += f" and, in the momentum encoder, {_counted(keys, 1)}"
            if (len(passes), len(keys)) != (self._depth, 2 - self._depth):
                if len(passes) > self._depth or len(keys) > 1:
                    self.forget()
                raise MedstrataError(
                    f"{stage} has seen {seen} views in training mode since the last loss; pass "
                    "each view through the network by itself, then ask for the loss"
                )
            first[stage], second[stage] = [*passes, *keys]
        self.forget()
        total, _ = self.losses(first, second)
        return torch.as_tensor(total)

    def forget(self) -> None:
        """Drop what the passes since the last loss have left."""
        for passes in (*self._passes.values(), *self._key_passes.values()):
            passes.clear()

    def remove(self) -> None:
        """Take the hooks off the network."""
        for hook in self._hooks:
            hook.remove()

    def __deepcopy__(self, memo: dict[int, Any]) -> "TappedLosses":
        raise MedstrataError(
            "intermediate losses cannot be copied: they read the network they were built for; "
            "build others for the copy, or give a momentum encoder as key="
        )


def intermediate_losses(
    model: nn.Module,
    loss: str = "mse",
    *,
    key: nn.Module | None = None,
    **options: Any,
) -> TappedLosses:
    """Add losses on the stages of a network to any training loop.

    Call the result after both views have passed through, and add what it gives to your own loss.
    In several processes each compares its own part of the batch.

    Args:
        model: A timm model, or one with the four stages `layer1` to `layer4`, as torchvision's
            ResNets; parts of it may be used in another module.
        loss: "mse", "barlow_twins", "centered_cosine", or the import path of another,
            "package.module:Name".
        key: A momentum encoder of the same kind, whose pass is the second view; None where both
            views pass through `model`.
        options: As `IntermediateSettings`: weights, grids, projector_size and so on.

    Returns:
        A module to be called without arguments. Its parameters, if it has any, are to be trained.

    Raises:
        MedstrataError: the network has no stages that can be tapped.
        ValueError: an option is out of range.
    """
    settings = IntermediateSettings(loss=loss, **options)
    query, momentum = _stages(model), None if key is None else _stages(key)
    losses = build_intermediate(settings, {name: stage.channels for name, stage in query.items()})
    return TappedLosses(
        losses.to(next(model.parameters()).device),
        {name: query[name] for name in losses.losses},
        None if momentum is None else {name: momentum[name] for name in losses.losses},
    )


def _stages(model: nn.Module) -> dict[str, _Stage]:
    """The stages of a network, by the names they have everywhere."""
    prefix = int(getattr(model, "num_prefix_tokens", 0))
    if hasattr(model, "feature_info"):
        taps, channels = stage_taps(model)
        info: Any = getattr(model.feature_info, "info", model.feature_info)
        return {
            name: _Stage(model.get_submodule(info[index]["module"]), channels[name], prefix)
            for name, index in taps.items()
        }
    layers = [getattr(model, name, None) for name in ("layer1", "layer2", "layer3", "layer4")]
    stages = {}
    for name, layer in zip(STAGES, layers, strict=True):
        convolutions = [
            part
            for part in (layer.modules() if isinstance(layer, nn.Module) else ())
            if isinstance(part, nn.Conv2d)
        ]
        if layer is None or not convolutions:
            raise MedstrataError(
                f"{type(model).__name__} has no stages that are known: give a timm model, or one "
                "with layer1 to layer4"
            )
        # The last convolution of a residual stage, or of its shortcut, is as wide as the stage.
        stages[name] = _Stage(layer, convolutions[-1].out_channels, prefix)
    return stages


def _tap(
    stage: _Stage, losses: IntermediateLosses, name: str, noted: deque[Tensor]
) -> RemovableHandle:
    loss = cast(IntermediateLoss, losses.losses[name])

    def note(module: nn.Module, _inputs: object, output: Tensor) -> None:
        # A copy of the network takes its hooks along, and is not the network.
        if module.training and module is stage.module:
            noted.append(loss.pool(_maps(output, stage)))

    return stage.module.register_forward_hook(note)


def _counted(passes: deque[Tensor], wanted: int) -> str:
    return f"{len(passes)}{' or more' if len(passes) > wanted else ''} of {wanted}"


def _maps(output: Tensor, stage: _Stage) -> Tensor:
    """A stage's output as maps, shape (B, C, H, W)."""
    if output.ndim == 3:  # (B, T, C)
        tokens = output[:, stage.prefix_tokens :].transpose(1, 2)
        side = isqrt(tokens.shape[2])
        return tokens.reshape(len(tokens), tokens.shape[1], side, -1)
    if output.shape[1] != stage.channels and output.shape[3] == stage.channels:
        return output.permute(0, 3, 1, 2)  # (B, H, W, C)
    return output
