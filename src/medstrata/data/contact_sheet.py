"""A picture of thumbnails with boxes and words around them, for people to look at.

Legend: H W height and width, C channels.
"""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medstrata.data.formats.grey_levels import to_bytes
from medstrata.runtime.files import atomic_file

TILE = 96  # side of a thumbnail in pixels

Colour = tuple[int, int, int]


class ContactSheet:
    """A sheet to draw on, places and sizes in pixels from its upper left corner.

    Args:
        width: Of the sheet.
        height: Of the sheet.
        background: Red, green and blue, 0 to 255.
    """

    def __init__(self, width: int, height: int, background: Colour) -> None:
        self._image = Image.new("RGB", (width, height), background)
        self._draw = ImageDraw.Draw(self._image)
        self._font = ImageFont.load_default(size=11)

    def box(self, left: int, top: int, width: int, height: int, colour: Colour) -> None:
        """Fill a rectangle; one without area leaves the sheet as it is.

        Args:
            left: Of its first column, in pixels.
            top: Of its first row.
            width: In pixels; 0 or less is without area.
            height: Likewise.
            colour: Red, green and blue, 0 to 255.
        """
        if width > 0 and height > 0:
            self._draw.rectangle((left, top, left + width - 1, top + height - 1), fill=colour)

    def thumbnail(self, left: int, top: int, pixels: NDArray[Any]) -> None:
        """Draw a stored image, (H, W, C), as a square of `TILE` pixels."""
        eight = to_bytes(pixels)
        image = Image.fromarray(eight[..., 0] if eight.shape[2] == 1 else eight).convert("RGB")
        self._image.paste(image.resize((TILE, TILE), Image.Resampling.BOX), (left, top))

    def words(self, left: int, top: int, text: str, colour: Colour, width: int) -> None:
        """Write a line, cut short where it is wider than it may be.

        Args:
            left: Where it begins, in pixels.
            top: Of its first row.
            text: In any number of lines; they are joined.
            colour: Red, green and blue, 0 to 255.
            width: Pixels that it may fill.
        """
        line = " ".join(text.split())
        if self._font.getlength(line) > width:
            while line and self._font.getlength(f"{line}...") > width:
                line = line[:-1]
            line = f"{line}..."
        self._draw.text((left, top), line, fill=colour, font=self._font)

    def save(self, path: Path) -> None:
        """Write a PNG, whole or not at all."""
        with atomic_file(path) as temporary:
            self._image.save(temporary, format="PNG")
