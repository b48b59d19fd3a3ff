"""Images of any source through a network, batch by batch, and what could not be read."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medstrata.inference.inputs import ImageBatches, UnreadableImage
from medstrata.models.features import Select, forward_batch
from medstrata.models.preprocessing import Preprocessing
from medstrata.runtime.console import progress_bar, warn
from medstrata.runtime.devices import evaluation_device
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text
from medstrata.runtime.harmless import csv_lines

_MOST_NAMED = 20  # unreadable images named on the terminal when a list has them all


class BatchOutput(NamedTuple):
    """What a network made of B images."""

    ids: list[str]
    patients: list[str] | None
    values: list[NDArray[np.float32]]  # each (B, ...)


@dataclass
class Quarantine:
    """Images that could not be read, and the number of those that were.

    Attributes:
        listed: Where they are listed at the end; None names each on the terminal.
        done: How many images went through the network.
        unreadable: Pairs of name and reason of the others.
    """

    listed: Path | None
    done: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    def add(self, name: str, reason: str) -> None:
        """Note an image that cannot be read, and name it on the terminal."""
        self.unreadable.append((name, reason))
        if self.listed is None or len(self.unreadable) <= _MOST_NAMED:
            warn(f"{name}: {reason}")
        elif len(self.unreadable) == _MOST_NAMED + 1:
            warn(f"others that cannot be read are named in {self.listed} alone")

    def write(self) -> None:
        """List the unreadable images; a list that was there before goes.

        Raises:
            MedstrataError: not one image could be read.
        """
        if self.listed is not None and not self.unreadable:
            self.listed.unlink(missing_ok=True)
        elif self.listed is not None:
            write_text(self.listed, csv_lines([("source", "reason"), *self.unreadable]))
        if not self.done and self.unreadable:
            raise MedstrataError(f"no image could be read{self._where()}")
        if not self.done:
            raise MedstrataError("no image was named; give paths, one a line")

    def conclude(self, strict: bool) -> None:
        """Say how many images could not be read; with `strict` raise MedstrataError for them."""
        if not self.unreadable:
            return
        total = self.done + len(self.unreadable)
        words = f"{len(self.unreadable)} of {total} images could not be read{self._where()}"
        if strict:
            raise MedstrataError(words)
        warn(words)

    def _where(self) -> str:
        return f"; {self.listed} lists them" if self.listed else ""


def quarantine_beside(out: Path) -> Path:
    """The list of unreadable images that belongs to a file of results."""
    return out.with_name(f"{out.name}.quarantine.csv")


def forward_batches(
    images: ImageBatches,
    network: nn.Module,
    preprocessing: Preprocessing,
    select: Select,
    quarantine: Quarantine,
    *,
    title: str,
) -> Generator[BatchOutput, None, None]:
    """Pass images through a network, in their order, each once.

    Args:
        images: As `image_batches` gives them.
        network: Set to evaluation mode and moved to the device.
        preprocessing: What it expects.
        select: Picks what is wanted of its output.
        quarantine: Counts images, and takes those that cannot be read.
        title: What the progress bar says.

    Yields:
        What the network made of a batch; memory does not grow with the number of images.
    """
    device = evaluation_device()
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    with progress_bar() as bar:
        shown = bar.add_task(title, total=images.total)
        for batch in images.batches:
            if isinstance(batch, UnreadableImage):
                quarantine.add(*batch)
                bar.advance(shown)
                continue
            values = forward_batch(network, batch.images, batch.rows, preprocessing, device, select)
            quarantine.done += len(batch.ids)
            yield BatchOutput(batch.ids, batch.patients, values)
            bar.advance(shown, len(batch.ids))
