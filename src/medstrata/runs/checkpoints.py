"""Checkpoints of a run: written whole or not at all, read without running what is in them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from medstrata.runtime.errors import MedstrataError, is_out_of_memory, one_line
from medstrata.runtime.files import atomic_file
from medstrata.runtime.randomness import DRAWS_VERSION


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
    """Write a checkpoint whole or not at all, then remove the oldest beyond `keep`.

    Args:
        folder: Of the run's checkpoints; made if it is not there.
        step: How many steps the state has seen.
        state: Tensors and plain values.
        keep: How many checkpoints stay, 1 or more.

    Returns:
        The file.

    Raises:
        MedstrataError: there is no room for it; the earlier ones stay.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"step-{step:09d}.pt"
    with atomic_file(path) as temporary:
        torch.save({**state, "draws": DRAWS_VERSION}, temporary)
    for old in checkpoints(folder)[:-keep]:
        old.unlink()
    return path


def checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints, oldest first."""
    return sorted(folder.glob("step-*.pt"))


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint of tensors and plain values; nothing in it can run code.

    Raises:
        MedstrataError: it is damaged, or of a version that draws otherwise.
    """
    try:
        # torch.load does not look at the checksums that torch.save has written.
        with zipfile.ZipFile(path) as archive:
            if changed := archive.testzip():
                raise zipfile.BadZipFile(f"{changed} has changed since it was written")
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise MedstrataError(
            f"checkpoint {path} cannot be read ({one_line(error, named=True, limit=120)}); delete "
            "it to resume from the one before"
        ) from error
    if state.get("draws") != DRAWS_VERSION:
        raise MedstrataError(
            f"checkpoint {path} is of a version whose seeds draw otherwise: finish the run with "
            "that version, or add --overwrite to redo it"
        )
    return state
