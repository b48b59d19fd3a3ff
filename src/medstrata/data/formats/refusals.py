"""Why a file gives no image."""

MAX_PIXELS = 178_956_970  # where Pillow, too, takes an image for a decompression bomb


# How the reason begins of a file that holds no picture by its nature: it is not to be mended.
NOT_AN_IMAGE = "no picture: "


class ImageError(Exception):
    """A file or an image in it that gives no usable pixels.

    Its words are the reason, without the file's name and without anything that the file says of a
    patient.
    """


def refuse_too_large(width: int, height: int) -> None:
    """Refuse an image before its pixels take memory.

    Raises:
        ImageError: it has more than `MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise ImageError(f"{width} x {height} pixels, more than {MAX_PIXELS:,}")
