"""What the files beside a weights file say of its encoder's input."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError

CONFIG = "config.json"
_LARGEST = 1 << 20  # bytes; such files have a few hundred


class InputConfig(NamedTuple):
    """An encoder's input, as the program that wrote it says."""

    mean: tuple[float, ...]  # of values in 0..1, per channel
    std: tuple[float, ...]
    image_size: int | None  # pixels


def read_input_config(weights: Path, backbone: str) -> InputConfig | None:
    """Read config.json beside a weights file, as timm, its hub and medstrata write it.

    Args:
        weights: The weights file.
        backbone: timm's name; what is said of another network is not meant for this file.

    Returns:
        What it says; None where there is no such file, or it says nothing of this network's input.

    Raises:
        MedstrataError: the file says something of the input that no encoder can expect.
    """
    path = weights.parent / CONFIG
    config = _read(path)
    if str(config.get("architecture")).partition(".")[0] != backbone.partition(".")[0]:
        return None
    ours = config.get("preprocessing", _inside(config, "medstrata").get("preprocessing"))
    said = ours if isinstance(ours, Mapping) else _inside(config, "pretrained_cfg")
    if "mean" not in said or "std" not in said:
        return None
    try:
        return InputConfig(
            mean=_numbers(said["mean"], 0.0),
            std=_numbers(said["std"], math.nextafter(0.0, 1.0)),  # a deviation of 0 divides by 0
            image_size=_size(said),
        )
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        raise MedstrataError(
            f"{path} says no mean, deviation and size that an encoder could expect; mend it, or "
            "move the weights away from it and give --mean and --std to import-weights"
        ) from error


def _read(path: Path) -> Mapping[str, Any]:
    """A small JSON object; empty for anything else."""
    try:
        if path.stat().st_size > _LARGEST:
            return {}
        config = read_json(path)
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, Mapping) else {}


def _inside(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = config.get(name)
    return value if isinstance(value, Mapping) else {}


def _numbers(values: Sequence[Any], least: float) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) not in (1, 3) or not all(least <= value <= 1 for value in numbers):
        raise ValueError("not one value, or one of each of three channels, in 0..1")
    return numbers


def _size(said: Mapping[str, Any]) -> int | None:
    """Ours has a side, timm (channels, height, width)."""
    size = said.get("image_size", said.get("input_size"))
    if isinstance(size, list | tuple):
        size = size[-1]
    if size is not None and int(size) < 1:
        raise ValueError("not a side in pixels")
    return None if size is None else int(size)
