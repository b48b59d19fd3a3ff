"""The one image that stands for a file, as `prepare` reads it."""

from pathlib import Path

from medstrata.data.formats.image import DecodedImage
from medstrata.data.formats.read import read_images
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.formats.refusals import ImageError


def read_image(
    path: Path, reading: ReadSettings | None = None, smallest_side: int | None = None
) -> DecodedImage:
    """As `read_images`; raises what makes the file unreadable."""
    (image,) = read_images(path, [None], reading or ReadSettings(), smallest_side)
    if isinstance(image, ImageError):
        raise image
    return image
