"""Images to use a trained encoder on: a store, a folder, one file, or names as they come.

Legend: B batch, C channels, H W height and width, equal here.
"""

import os
import select
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.read import list_frames
from medstrata.data.formats.refusals import ImageError
from medstrata.data.patients import is_unknown
from medstrata.data.prepare.decode import StoreFormat, decoding_threads, read_inside, resize_images
from medstrata.data.sources import from_folder, printable
from medstrata.data.store.open import is_address, open_store
from medstrata.data.store.store import Store
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.machine import default_threads

STDIN = "-"
# Seconds without another name after which the images named so far are passed on.
_PATIENCE_S = 0.2


class ImageFile(NamedTuple):
    """An image file, and what its rows are called."""

    id: str
    path: Path
    root: Path | None = None  # a folder that it must not lead out of


@dataclass(frozen=True)
class Files:
    """Image files, perhaps without end.

    Attributes:
        named: The files; None where no other is named for now, so that nobody waits for a whole
            batch of images.
        total: How many; None if that is not known.
        unreadable: Pairs of name and reason of files that cannot be read for what they are.
    """

    named: Iterable[ImageFile | None]
    total: int | None
    unreadable: list[tuple[str, str]]


class ImageBatch(NamedTuple):
    """Images by row, and what they are called."""

    ids: list[str]
    patients: list[str] | None  # None where nothing is known of them
    images: Store | NDArray[Any]  # by row, each (H, W, C)
    rows: NDArray[np.int64]  # (B,)


class UnreadableImage(NamedTuple):
    """An image that cannot be read, and why."""

    id: str
    reason: str


def open_inputs(source: Store | Path | str, *, follow_links: bool = False) -> Store | Files:
    """Find out what images are meant.

    Args:
        source: A store, its folder or address; a folder tree of images; one image file; or "-" for
            paths on standard input, one a line.
        follow_links: Whether links that lead out of a folder, or to folders, are followed.

    Raises:
        MedstrataError: there is no such place, or nothing in it that can be read.
    """
    if isinstance(source, Store):
        return source
    if str(source) == STDIN:
        return Files(named_on(0), None, [])
    path = Path(source)
    of_a_store = ("store.json", "manifest.parquet", "parts")
    if is_address(source) or any((path / name).exists() for name in of_a_store):
        return open_store(source)
    if path.is_dir():
        images = from_folder(path, follow_links=follow_links)
        named = [ImageFile(name, images.root / name, images.boundary) for name in images.files]
        return Files(named, len(named), images.refused)
    if not path.is_file():
        raise MedstrataError(f"{path} does not exist; give a store, a folder of images or an image")
    return Files([ImageFile(printable(path.name), path)], 1, [])


def say_preparation(form: StoreFormat) -> None:
    """Say how files become images of a network."""
    grey = ", colour turned grey" if form.channels == 1 else ""
    say(f"images are prepared as by `medstrata prepare --size {form.size} --fit {form.fit}`{grey}")


def named_on(descriptor: int) -> Iterator[ImageFile | None]:
    """Files named on a stream, one a line, as they come; None when the stream falls silent."""
    # Not Python's own stdin: its buffer would hide from `select` what has already been read.
    rest = b""
    while True:
        if not select.select([descriptor], [], [], _PATIENCE_S)[0]:
            yield None
            select.select([descriptor], [], [])
        chunk = os.read(descriptor, 2**16)
        *lines, rest = (rest + chunk).split(b"\n")
        if not chunk:
            lines, rest = [rest], b""
        for line in lines:
            if line := line.rstrip(b"\r"):
                yield ImageFile(line.decode("utf-8", "replace"), Path(os.fsdecode(line)))
        if not chunk:
            return


class ImageBatches(NamedTuple):
    """Images of any source, batch by batch, and between them those that cannot be read."""

    total: int | None  # images, as far as that is known
    batches: Iterator[ImageBatch | UnreadableImage]


def image_batches(
    inputs: Store | Files, form: StoreFormat, batch_size: int, workers: int | None = None
) -> ImageBatches:
    """Every image of what `open_inputs` has found, in its order.

    Args:
        inputs: Which.
        form: What files are brought into; stored images are as they are.
        batch_size: Images at a time; fewer when no other is named for now, or at the end.
        workers: Decoding threads; None is one a core.
    """
    if isinstance(inputs, Store):
        return ImageBatches(len(inputs), _store_batches(inputs, batch_size))
    total = None if inputs.total is None else inputs.total + len(inputs.unreadable)
    threads = workers or default_threads()
    return ImageBatches(total, _file_batches(inputs, form, batch_size, threads))


def _store_batches(store: Store, batch_size: int) -> Iterator[ImageBatch]:
    """Every image of a store in its order; with patients, if any is known."""
    frame = store.columns("sample_id", "patient_id")
    has_patients = not is_unknown(frame["patient_id"]).all()
    for rows in store.batches(store.rows(), batch_size):
        part = frame.iloc[rows]
        patients = part["patient_id"].tolist() if has_patients else None
        yield ImageBatch(part["sample_id"].tolist(), patients, store, rows)


def _file_batches(
    files: Files, form: StoreFormat, batch_size: int, workers: int
) -> Iterator[ImageBatch | UnreadableImage]:
    """Images of files in their order, decoded ahead in threads, in memory that stays the same."""
    yield from (UnreadableImage(name, reason) for name, reason in files.unreadable)
    ids: list[str] = []
    squares: list[NDArray[Any]] = []
    for decoded in _decoded(files.named, form, batch_size, workers):
        if decoded is not None:
            name, square = decoded
            if isinstance(square, str):
                yield UnreadableImage(name, square)
                continue
            ids.append(name)
            squares.append(square)
        if ids and (decoded is None or len(ids) == batch_size):
            yield ImageBatch(ids, None, np.stack(squares), np.arange(len(ids)))
            ids, squares = [], []


_Decoded = tuple[str, NDArray[Any] | str]  # what it is called; pixels, or why there are none


def _decoded(
    named: Iterable[ImageFile | None], form: StoreFormat, batch_size: int, workers: int
) -> Iterator[_Decoded | None]:
    """Each image in its order; None where no other is named for now, and at the end."""
    # A file of many frames may hold as many images as a batch.
    ahead = 2 * batch_size if form.reading.step is None else workers
    with decoding_threads(workers) as executor:
        waiting: deque[Future[list[_Decoded]]] = deque()
        for file in chain(named, [None]):
            if file is not None:
                waiting.append(executor.submit(_decode, file, form))
            while waiting and (file is None or len(waiting) > ahead):
                yield from waiting.popleft().result()
            if file is None:
                yield None


def _decode(file: ImageFile, form: StoreFormat) -> list[_Decoded]:
    """The images of a file that are wanted; a frame's name ends in "#" and its number."""
    step = form.reading.step
    every = [] if step is None else list_frames(file.path, form.reading.axis)
    frames = every[::step] if len(every) > 1 else [-1]
    images = read_inside(file.root, file.path, frames, form.reading, form.smallest_side)
    squares = (
        str(square) if isinstance(square, ImageError) else square.pixels
        for square in resize_images(images, form)
    )
    ids = (file.id if frame < 0 else f"{file.id}#{frame}" for frame in frames)
    return list(zip(ids, squares, strict=True))
