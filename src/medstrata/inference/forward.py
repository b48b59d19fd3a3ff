"""Images of any source through a network: rows as they are made, and what could not be read."""

import csv
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.store.store import Store
from medstrata.inference.inputs import Batch, Files, Refused, file_batches, store_batches
from medstrata.models.features import Keep, forward_batch
from medstrata.models.preprocessing import Preprocessing
from medstrata.runtime.console import progress_bar, warn
from medstrata.runtime.devices import evaluation_device
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import replacing
from medstrata.runtime.machine import default_threads

_MOST_NAMED = 20  # unreadable images named on the terminal when a list has them all


class Rows(NamedTuple):
    """What a network made of B images."""

    ids: list[str]
    patients: list[str] | None
    kept: list[NDArray[np.float32]]  # each (B, ...)


@dataclass
class Tally:
    """Images counted on their way.

    Attributes:
        listed: Where the unreadable ones are listed at the end; None names each on the terminal.
        done: How many have rows.
        refused: Pairs of name and reason of the others.
    """

    listed: Path | None
    done: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, name: str, reason: str) -> None:
        """Note an image that cannot be read, and name it on the terminal."""
        self.refused.append((name, reason))
        if self.listed is None or len(self.refused) <= _MOST_NAMED:
            warn(f"{name}: {reason}")
        elif len(self.refused) == _MOST_NAMED + 1:
            warn(f"others that cannot be read are named in {self.listed} alone")

    def write(self) -> None:
        """List the unreadable images; a list that was there before goes."""
        if self.listed is None:
            return
        if not self.refused:
            self.listed.unlink(missing_ok=True)
            return
        with (
            replacing(self.listed) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as stream,
        ):
            csv.writer(stream).writerows([("source", "reason"), *self.refused])

    def require_some(self) -> None:
        """Raise MedstrataError where not one image could be read."""
        if not self.done and self.refused:
            raise MedstrataError(f"no image could be read{self._where()}")
        if not self.done:
            raise MedstrataError("no image was named; give paths, one a line")

    def judge(self, strict: bool) -> None:
        """Say how many images could not be read; with `strict` raise MedstrataError for them."""
        if not self.refused:
            return
        total = self.done + len(self.refused)
        words = f"{len(self.refused)} of {total} images could not be read{self._where()}"
        if strict:
            raise MedstrataError(words)
        warn(words)

    def _where(self) -> str:
        return f"; {self.listed} lists them" if self.listed else ""


def quarantine_beside(out: Path) -> Path:
    """The list of unreadable images that belongs to a file of results."""
    return out.with_name(f"{out.name}.quarantine.csv")


def pass_images(
    inputs: Store | Files,
    network: nn.Module,
    preprocessing: Preprocessing,
    form: StoreFormat,
    keep: Keep,
    tally: Tally,
    *,
    words: str,
    batch_size: int,
    workers: int | None,
) -> Generator[Rows, None, None]:
    """Pass images through a network, in their order, each once.

    Args:
        inputs: As `find_inputs` gives them.
        network: Set to evaluation mode and moved to the device.
        preprocessing: What it expects.
        form: What files are brought into; stored images are as they are.
        keep: Picks what is kept of its output.
        tally: Counts images.
        words: What the progress bar says.
        batch_size: Images at a time.
        workers: Decoding threads; None is one a core.

    Yields:
        A batch of rows; memory does not grow with the number of images.
    """
    if batch_size < 1:
        raise MedstrataError(f"batch size {batch_size} must be 1 or more")
    device = evaluation_device()
    network = network.to(device).to(memory_format=torch.channels_last).eval()
    if isinstance(inputs, Store):
        total: int | None = len(inputs)
        batches: Iterator[Batch | Refused] = store_batches(inputs, batch_size)
    else:
        total = None if inputs.total is None else inputs.total + len(inputs.refused)
        batches = file_batches(inputs, form, batch_size, workers or default_threads())
    with progress_bar() as bar:
        shown = bar.add_task(words, total=total)
        for batch in batches:
            if isinstance(batch, Refused):
                tally.refuse(*batch)
                bar.advance(shown)
                continue
            kept = forward_batch(network, batch.images, batch.rows, preprocessing, device, keep)
            tally.done += len(batch.ids)
            yield Rows(batch.ids, batch.patients, kept)
            bar.advance(shown, len(batch.ids))
