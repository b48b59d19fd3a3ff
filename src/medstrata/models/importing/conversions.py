"""What a foreign state needs before it fits: each step gives the state and says what it did.

Every step leaves the network's outputs as they were, but for the first layer's channels and the
resampled positions, which say what holds.
"""

import math
import re
from typing import Any

import timm
import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from medstrata.runtime.errors import MedstrataError

State = dict[str, Tensor]
_BIAS = r"(layer\d\.0\.downsample)\.0\.bias$"
_BATCHES = "num_batches_tracked"


def first_convolution(backbone: str) -> str | None:
    """Name of the weight that reads the image, where timm says it of a model."""
    config = timm_config(backbone)
    named = None if config is None else config.first_conv
    first = next(iter(named), None) if isinstance(named, tuple | list) else named
    return f"{first}.weight" if first else None


def timm_config(name: str) -> Any:
    """What timm says of a model's usual input and layers; None of what is no model of timm.

    Raises:
        MedstrataError: timm has no weights of that tag.
    """
    try:
        return timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    except RuntimeError as error:
        raise MedstrataError(f"backbone {name!r} is not a timm model: {error}") from error


def architecture_of(model: Any) -> str:
    """Timm's name of a model, as far as the model tells it."""
    return str((getattr(model, "pretrained_cfg", None) or {}).get("architecture", ""))


def convert_state_dict(state: State, model: Any) -> tuple[State, list[str]]:
    """A state that differs from the model's in form alone, in the model's form.

    Args:
        state: Tensors by timm's names.
        model: The timm model that is to have them.

    Returns:
        The state, and a sentence for each step that changed something.
    """
    said = []
    for step in (_without_biases, _with_counts, _with_channels, _with_positions):
        state, words = step(state, model)
        if words:
            said.append(words)
    return state, said


def _without_biases(state: State, model: Any) -> tuple[State, str | None]:
    """A bias before BatchNorm shifts its running mean and nothing else."""
    expected = model.state_dict()
    biases = [name for name in state if re.match(_BIAS, name) and name not in expected]
    state = dict(state)
    for name in biases:
        mean = re.sub(_BIAS, r"\1.1.running_mean", name)
        if mean not in state or state[mean].shape != state[name].shape:
            return state, None
        state[mean] = state[mean] - state.pop(name)
    words = (
        f"{len(biases)} biases before BatchNorm taken into its running means" if biases else None
    )
    return state, words


def _with_counts(state: State, model: Any) -> tuple[State, str | None]:
    """Files older than PyTorch 0.4.1 do not count the batches of BatchNorm."""
    lacking = [
        name
        for name in model.state_dict()
        if name.endswith(_BATCHES)
        and name not in state
        and name.replace(_BATCHES, "running_var") in state
    ]
    if not lacking:
        return state, None
    counts = {name: torch.zeros((), dtype=torch.int64) for name in lacking}
    return {**state, **counts}, f"{len(lacking)} counts of batches are not in the file: 0"


def _with_channels(state: State, model: Any) -> tuple[State, str | None]:
    """Weights of three channels for one, or of one for three."""
    name = first_convolution(architecture_of(model))
    if name is None or name not in state or name not in model.state_dict():
        return state, None
    weight, wanted = state[name], model.state_dict()[name].shape
    if weight.ndim != 4 or weight.shape[2:] != wanted[2:]:
        return state, None
    match weight.shape[1], wanted[1]:
        case 3, 1:
            return {**state, name: weight.sum(1, keepdim=True)}, (
                f"{name}: three channels summed into one; a grey image gives what it gave as three "
                "equal channels"
            )
        case 1, 3:
            return {**state, name: weight.repeat(1, 3, 1, 1) / 3}, (
                f"{name}: one channel shared by three; three equal channels give what one gave"
            )
    return state, None


def _with_positions(state: State, model: Any) -> tuple[State, str | None]:
    """Position embeddings of another image size, or of DINOv2's with registers."""
    positions, expected = state.get("pos_embed"), model.state_dict().get("pos_embed")
    grid = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if positions is None or expected is None or grid is None or positions.ndim != 3:
        return state, None
    alone = getattr(model, "no_embed_class", False)
    prefix = 0 if alone else model.num_prefix_tokens
    said = []
    count = positions.shape[1]
    if alone and not _square(count) and _square(count - 1) and "cls_token" in state:
        # The class token's own position is added to it in every image alike.
        state = {**state, "cls_token": state["cls_token"] + positions[:, :1]}
        positions, count = positions[:, 1:], count - 1
        said.append("the class token's position taken into the token")
    if positions.shape != expected.shape and _square(count - prefix):
        side = math.isqrt(count - prefix)
        said.append(
            f"position embeddings resampled from {side} x {side} to {grid[0]} x {grid[1]} patches"
        )
        positions = resample_abs_pos_embed(positions, new_size=list(grid), num_prefix_tokens=prefix)
    return {**state, "pos_embed": positions}, "; ".join(said) or None


def _square(count: int) -> bool:
    return count > 0 and math.isqrt(count) ** 2 == count
