"""What reading an image gives.

Legend: H W height and width.
"""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class DecodedImage:
    """Pixels of one image, upright, and what was done to get them.

    Attributes:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8, or uint16 where 16 bits were asked for; colour
            with three equal channels is grey.
        width: Of the file's image in pixels, after turning upright.
        height: Likewise.
        mode: How the file holds its pixels: in Pillow's words (L, RGB, I;16, CMYK), DICOM's
            photometric interpretation with its bits, or the type of the numbers of a volume or of
            a TIFF with one channel of more than bytes.
        notes: Each change that lost or moved something.
        format: PNG, JPEG, TIFF, WebP, JPEG 2000, BMP, GIF, PNM, DICOM, NIfTI, npz or HDF5; empty
            where a decoder of one format was asked.
        checksum: The first 32 hexadecimal digits of SHA-256: of the file's bytes, with the frame's
            number where it is one of several; of an array in a container, of its own bytes.
        facts: Technical DICOM attributes by keyword, from a closed list.
        patient: Identity as a DICOM file states it, its issuer, a zero byte and its id, for hashing
            only; never written.
    """

    pixels: NDArray[Any]
    width: int
    height: int
    mode: str
    notes: list[str]
    format: str = ""
    checksum: str = ""
    facts: dict[str, str] = field(default_factory=dict)
    patient: str | None = field(default=None, repr=False)

    @property
    def conversion(self) -> str:
        """The notes in one line; empty if there are none."""
        return "; ".join(self.notes)
