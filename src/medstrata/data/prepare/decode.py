"""Image files to squares: the form of stored images, and the threads that bring files into it.

Whatever reads images, into a store or straight into an encoder, reads them through here, so that
the same file gives the same pixels.

Legend: C channels, H W height and width, equal here.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read import read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError
from medstrata.data.formats.tiff import quiet_tiff
from medstrata.data.prepare.resize import fit_square
from medstrata.data.prepare.settings import Fit
from medstrata.data.sources import LINK_OUTSIDE
from medstrata.data.store.layout import SHARD_BYTES, SHARD_ROWS
from medstrata.runtime.errors import require_choices
from medstrata.runtime.threads import image_threads


@dataclass(frozen=True)
class StoreFormat:
    """The form that stored images have.

    Attributes:
        size: H and W in pixels.
        channels: C, 1 or 3.
        fit: As `fit_square` takes it.
        reading: How files are read.
    """

    size: int
    channels: int
    fit: Fit
    reading: ReadSettings

    def __post_init__(self) -> None:
        require_choices(self)

    @property
    def dtype(self) -> type[np.uint8] | type[np.uint16]:
        """Of the stored pixels."""
        return np.uint8 if self.reading.bits == 8 else np.uint16

    @property
    def rows_per_shard(self) -> int:
        """Samples in a shard, of which the last may have fewer."""
        image = self.size**2 * self.channels * self.reading.bits // 8
        return min(SHARD_ROWS, max(1, SHARD_BYTES // image))

    @property
    def smallest_side(self) -> int | None:
        """Sides in pixels that a decoded image needs; None for all that the file has.

        Twice the size leaves the last step of shrinking to area resampling; a fundus is about as
        wide as its image but may be narrower.
        """
        return {"keep": None, "fundus": 3 * self.size}.get(self.fit, 2 * self.size)


class ResizedImage(NamedTuple):
    """One image in the form that is stored."""

    pixels: NDArray[Any]  # (H, W, C)
    image: DecodedImage  # as it was read
    note: str  # on the conversion, empty if there is nothing to tell


@contextmanager
def decoding_threads(workers: int) -> Iterator[ThreadPoolExecutor]:
    """As `image_threads`, quiet about odd metadata and damage, which is no decoder's to print."""
    with image_threads(workers) as executor, warnings.catch_warnings(), quiet_tiff():
        warnings.simplefilter("ignore")
        yield executor


def read_inside(
    root: Path | None,
    path: Path,
    frames: Sequence[int],
    reading: ReadSettings,
    smallest_side: int | None,
) -> Iterator[DecodedImage | ImageError]:
    """As `read_images`, of a file that must lie in a root, if there is one.

    Args:
        root: Resolved folder that the file must not lead out of; None lets it lie anywhere.
        path: As of `read_images`.
        frames: Which of its images; -1 is the one that stands for the file.
        reading: As of `read_images`.
        smallest_side: As of `read_images`.

    Returns:
        For each frame the image, or why there is none.
    """
    try:
        inside = root is None or path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # as Python 3.11 and 3.12 say of links that lead in a circle
        return repeat(ImageError("link that leads nowhere"), len(frames))
    except ValueError:  # it holds a NUL
        return repeat(ImageError("name that no file can have"), len(frames))
    if not inside:
        return repeat(ImageError(LINK_OUTSIDE), len(frames))
    return read_images(
        path, [None if frame < 0 else frame for frame in frames], reading, smallest_side
    )


def resize_images(
    images: Iterable[DecodedImage | ImageError], form: StoreFormat
) -> Iterator[ResizedImage | ImageError]:
    """Bring images into their stored form; for each that has none, the reason."""
    for image in images:
        if isinstance(image, ImageError):
            yield image
            continue
        try:
            pixels, note = fit_square(image.pixels, form.size, form.channels, form.fit)
        except ImageError as refused:
            yield refused
        else:
            yield ResizedImage(pixels, image, note)
