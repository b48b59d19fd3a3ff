"""The losses that bring intermediate layers of two views together.

Shapes: B batch, C channels, H W height and width, D feature size.

An intermediate loss is a module with two steps, so that the second can see the batches of all
processes at once: `pool` turns the maps of one stage (B, C, H, W) into what is compared, and
calling the module with both pooled arrays returns a `StageLoss`. To add one, write the module, its
name in `settings.LossName` and its line in `INTERMEDIATE_LOSSES`; one of another package needs
neither, its import path is its name.
"""

import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F  # noqa: N812  (the name every PyTorch reader expects)
from torch import Tensor, nn

from medstrata.models.pooling import global_average_pool
from medstrata.pretraining.settings import IntermediateSettings
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.import_path import load_object


class StageLoss(NamedTuple):
    """Loss of one stage and the numbers that explain it."""

    loss: Tensor  # scalar
    diagnostics: Mapping[str, Tensor]  # scalars, no gradient


class IntermediateLoss(Protocol):
    """What every intermediate loss offers; see the module's docstring."""

    def pool(self, maps: Tensor) -> Tensor:
        """Turn the maps of one stage, shape (B, C, H, W), into what is compared, (B, ...)."""
        ...

    def __call__(self, query: Tensor, key: Tensor) -> StageLoss:
        """Compare pooled arrays of the two views, same images in the same order."""
        ...


class MeanSquaredError(nn.Module):
    """Mean squared difference of the pooled maps of the two views.

    Args:
        channels: Channels of the stage; unused, present so that all losses are built alike.
        grid: Positions a side kept by adaptive average pooling (the paper: 16, 16, 4, 4 for the
            four stages on X-ray and retina); 1 pools globally (histopathology).

    Source: Kaku et al. 2021, arXiv:2110.14805, section 3.
    """

    def __init__(self, channels: int, *, grid: int = 1) -> None:  # noqa: ARG002
        super().__init__()
        if grid < 1:
            raise ValueError(f"grid must be 1 or more positions a side, got {grid}")
        self.grid = grid

    def pool(self, maps: Tensor) -> Tensor:
        """Adaptive average pooling, (B, C, H, W) -> (B, C, grid, grid), or (B, C) for grid 1."""
        if self.grid == 1:
            return global_average_pool(maps)
        return F.adaptive_avg_pool2d(maps, self.grid)

    def forward(self, query: Tensor, key: Tensor) -> StageLoss:
        """Mean over batch, channels and positions of (query - key)^2; 0 when equal."""
        return StageLoss(F.mse_loss(query.float(), key.float()), {})


class CenteredCosine(nn.Module):
    """Mean of 2 - 2 cos between the two views' features, each centred over the batch.

    It cannot fall by shrinking activations (the loss is unchanged when either side is scaled) nor
    by a constant offset common to all images (which the centring removes), and has no projector.

    Args:
        channels: Channels of the stage; unused, present so that all losses are built alike.

    Source: this project; compare Kaku et al. 2021, arXiv:2110.14805, section 3 (MSE).
    """

    def __init__(self, channels: int) -> None:  # noqa: ARG002
        super().__init__()

    def pool(self, maps: Tensor) -> Tensor:
        """Global average, (B, C, H, W) -> (B, C)."""
        return global_average_pool(maps)

    def forward(self, query: Tensor, key: Tensor) -> StageLoss:
        """Between 0 (same directions) and 4 (opposite); about 2 for unrelated features."""
        query, key = query.float(), key.float()
        cosine = F.cosine_similarity(query - query.mean(0), key - key.mean(0), dim=1)
        return StageLoss((2 - 2 * cosine).mean(), {"cosine": cosine.detach().mean()})


class BarlowTwins(nn.Module):
    """Cross-correlation of the two views, driven to the identity, behind a projector.

    The projector is Linear-BN-ReLU-Linear-BN-ReLU-Linear without biases, shared by the views;
    each view is normalised by its own batch statistics. With B at most D the sum over the D x D
    matrix comes from two B x B Gram matrices: ||Z1' Z2||^2 = <Z1 Z1', Z2 Z2'>.

    Args:
        channels: Channels of the stage.
        projector_size: Width D of the projector's three layers.
        on_weight: Weight of sum_i (C_ii - 1)^2.
        off_weight: Weight of sum_{i != j} C_ij^2. Original Barlow Twins weighs on : off as
            1 : 0.0051; the intermediate-layer paper's code weighs both 5e-5 / 32.

    Source: Zbontar et al. 2021, arXiv:2103.03230, eq. 1 and 2; Kaku et al. 2021, section 3.
    """

    def __init__(
        self, channels: int, *, projector_size: int, on_weight: float, off_weight: float
    ) -> None:
        super().__init__()
        widths = (channels, projector_size, projector_size, projector_size)
        self.linears = nn.ModuleList(
            nn.Linear(before, after, bias=False) for before, after in itertools.pairwise(widths)
        )
        # Batch statistics only: a projector is never evaluated, so it has no running averages
        # that two views would have to take turns in.
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(projector_size, track_running_stats=False) for _ in range(2)
        )
        self.on_weight, self.off_weight = on_weight, off_weight

    def pool(self, maps: Tensor) -> Tensor:
        """Global average, (B, C, H, W) -> (B, C)."""
        return global_average_pool(maps)

    def project(self, query: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Both views through the projector: one product per layer, statistics per view."""
        both, views = torch.cat([query, key]), len(query)
        for linear, norm in zip(self.linears, (*self.norms, None), strict=True):
            both = linear(both)
            if norm is not None:
                both = F.relu(torch.cat([norm(both[:views]), norm(both[views:])]))
        return both[:views], both[views:]

    def forward(self, query: Tensor, key: Tensor) -> StageLoss:
        """Weighted sum of both terms; 0 when C is the identity.

        Raises:
            ValueError: the batch has one image, whose statistics are not defined.
        """
        if len(query) < 2:
            raise ValueError("Barlow Twins needs a batch of 2 images or more")
        first, second = (
            F.batch_norm(z.float(), None, None, training=True) for z in self.project(query, key)
        )
        on, off, diagonal = cross_correlation_terms(first, second)
        loss = self.on_weight * on + self.off_weight * off
        return StageLoss(
            loss,
            {
                "on_diagonal": on.detach(),
                "off_diagonal": off.detach(),
                "mean_diagonal": diagonal.detach().mean(),
            },
        )


def cross_correlation_terms(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Terms of Barlow Twins on C = first' second / B.

    Args:
        first: One view, each column of mean 0 and variance 1 over the batch, shape (B, D).
        second: The other view, likewise.

    Returns:
        sum_i (C_ii - 1)^2, sum_{i != j} C_ij^2, and the diagonal of C, shape (D,).

    Source: Zbontar et al. 2021, arXiv:2103.03230, eq. 1 and 2.
    """
    batch, features = first.shape
    diagonal = (first * second).sum(0) / batch
    if batch <= features:
        squares = ((first @ first.T) * (second @ second.T)).sum() / batch**2
    else:
        squares = (first.T @ second).square().sum() / batch**2
    return (diagonal - 1).square().sum(), squares - diagonal.square().sum(), diagonal


def build_intermediate(
    settings: IntermediateSettings, stage_channels: Mapping[str, int]
) -> "IntermediateLosses":
    """The intermediate losses that the settings name, sized for a backbone's stages.

    Raises:
        MedstrataError: the backbone lacks a stage, or the loss cannot be built with the options.
    """
    if settings.loss == "none":
        return IntermediateLosses({}, {})
    weights = {stage: weight for stage, weight in settings.weights.items() if weight > 0}
    absent = weights.keys() - stage_channels.keys()
    if absent:
        left = ", ".join(
            f"{stage}: {one:g}" for stage, one in weights.items() if stage not in absent
        )
        raise MedstrataError(
            f"the network has the stages {', '.join(stage_channels)}, not "
            f"{', '.join(sorted(absent))}: add --intermediate.weights '{{{left}}}'"
        )
    losses = {stage: _build(settings, stage, stage_channels[stage]) for stage in weights}
    return IntermediateLosses(losses, weights)


def _build(settings: IntermediateSettings, stage: str, channels: int) -> nn.Module:
    """The loss of one stage."""
    make = INTERMEDIATE_LOSSES.get(settings.loss)
    if make is None:
        make = load_object(settings.loss, "intermediate loss")
    try:
        loss = make(channels, **_own_settings(settings, stage), **settings.options)
    except Exception as error:  # whatever the user's code raises
        cause = one_line(error, named=True)
        raise MedstrataError(
            f"intermediate loss {settings.loss} cannot be built for {channels} channels with "
            f"options {settings.options}: {cause}"
        ) from error
    if not isinstance(loss, nn.Module) or not callable(getattr(loss, "pool", None)):
        raise MedstrataError(
            f"intermediate loss {settings.loss} is not a torch.nn.Module with a method pool; see "
            "docs/start/tutorials/add_a_loss.md"
        )
    return loss


def _own_settings(settings: IntermediateSettings, stage: str) -> dict[str, Any]:
    """What the losses that have settings of their own are built with at a stage."""
    if settings.loss == "mse":
        return {"grid": settings.grids.get(stage, 1)}
    if settings.loss == "barlow_twins":
        width, on, off = settings.projector_size, settings.on_weight, settings.off_weight
        return {
            "projector_size": width,
            "on_weight": 1 / width if on is None else on,
            "off_weight": 0.0051 / width if off is None else off,
        }
    return {}


# By name; each is built from the channels of a stage, its own settings and the options.
INTERMEDIATE_LOSSES: dict[str, Callable[..., nn.Module]] = {
    "mse": MeanSquaredError,
    "barlow_twins": BarlowTwins,
    "centered_cosine": CenteredCosine,
}


class IntermediateLosses(nn.Module):
    """Weighted sum of one intermediate loss per stage.

    Args:
        losses: Stage name -> loss.
        weights: Stage name -> weight, the same names.
    """

    def __init__(self, losses: Mapping[str, nn.Module], weights: Mapping[str, float]) -> None:
        super().__init__()
        if losses.keys() != weights.keys():
            raise ValueError(f"losses for {list(losses)} but weights for {list(weights)}")
        self.losses = nn.ModuleDict(losses)
        self.weights = dict(weights)

    def pool(self, stages: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Pool the maps of the stages that carry a loss."""
        return {
            stage: cast(IntermediateLoss, loss).pool(stages[stage])
            for stage, loss in self.losses.items()
        }

    def forward(
        self, query: Mapping[str, Tensor], key: Mapping[str, Tensor]
    ) -> tuple[Tensor | float, dict[str, StageLoss]]:
        """Total, 0.0 without stages, and each stage's own unweighted loss."""
        stage_losses = {
            stage: loss(query[stage], key[stage]) for stage, loss in self.losses.items()
        }
        for loss, given in zip(self.losses.values(), stage_losses.values(), strict=True):
            if not isinstance(given, StageLoss):
                raise MedstrataError(
                    f"intermediate loss {type(loss).__name__} returns a {type(given).__name__}; "
                    "return medstrata.pretraining.losses.StageLoss(loss, {})"
                )
        total = sum(
            (self.weights[stage] * stage_loss.loss for stage, stage_loss in stage_losses.items()),
            start=0.0,
        )
        return total, stage_losses
