"""A PNG of a run folder as a small picture inside the page."""

import base64
import io
from dataclasses import dataclass

from PIL import Image

# Large enough to see the pixels of a view, small enough to send by mail.
_WIDTH = 1280
# What opening a picture that is none, or that is not to be trusted, raises.
UNREADABLE = (OSError, ValueError, Image.DecompressionBombError)


@dataclass(frozen=True, kw_only=True)
class InlineImage:
    """A picture; `source` is a data address."""

    source: str
    width: int
    height: int


def open_png(content: bytes) -> Image.Image:
    """The picture in a PNG file; raises one of `UNREADABLE` if there is none."""
    with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
        return opened.convert("RGBA")


def inline_image(sheet: Image.Image) -> InlineImage:
    """Shrink a picture to the width of a page where it is larger, and compress it."""
    sheet.thumbnail((_WIDTH, _WIDTH), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    sheet.save(written, format="WEBP", quality=88)
    encoded = base64.b64encode(written.getvalue()).decode("ascii")
    return InlineImage(
        source=f"data:image/webp;base64,{encoded}", width=sheet.width, height=sheet.height
    )
