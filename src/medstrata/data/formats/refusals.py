"""Why a file gives no image."""

from pathlib import Path

from medstrata.runtime.errors import MedstrataError

MAX_PIXELS = 178_956_970  # where Pillow, too, takes an image for a decompression bomb


class Unreadable(MedstrataError):  # noqa: N818  (a finding about a file, not a failure)
    """A file that gives no usable pixels.

    Attributes:
        reason: Why, in a few words, without the file's name and without anything the file says of
            a patient.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


class Refused(Exception):  # noqa: N818
    """Raised inside a decoder, which knows the reason but not the file."""
