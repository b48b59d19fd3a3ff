"""How image files are to be read, and what reading one gives.

Legend: H W height and width.
"""

from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from medstrata.data.formats.windows import check_window
from medstrata.runtime.errors import MedstrataError

AXES = ("axial", "coronal", "sagittal")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What to take from a file, and how its values become grey levels.

    Attributes:
        window: Grey values of more than 8 bits: "first" (the first window or table that a DICOM
            file names; where there is none, percentiles), "percentile", "full" (lowest to highest
            value), the name a DICOM file gives to one of its windows, a preset for CT in Hounsfield
            units ("lung", ...), or "CENTER/WIDTH" in the units of the file.
        frames: Of a file with several images: "middle" (the first page of a TIFF, whose others are
            often reduced copies), "all", or "every:N", the first and each N-th after it.
        axis: Along which a volume is cut into slices: "axial", "coronal" or "sagittal".
        bits: 8 or 16, of the grey levels that are wanted.

    Raises:
        MedstrataError: a value is none of these.
    """

    window: str = "first"
    frames: str = "middle"
    axis: str = "axial"
    bits: int = 8

    def __post_init__(self) -> None:
        check_window(self.window)
        if self.frames not in ("middle", "all") and self.step is None:
            raise MedstrataError(
                f"frames {self.frames!r} must be middle, all or every:N, N above 0"
            )
        if self.axis not in AXES:
            raise MedstrataError(f"axis {self.axis!r} must be one of {', '.join(AXES)}")
        if self.bits not in (8, 16):
            raise MedstrataError(f"bits {self.bits} must be 8 or 16")

    @property
    def step(self) -> int | None:
        """N of "every:N"; 1 for "all"; None otherwise."""
        if self.frames == "all":
            return 1
        word, _, number = self.frames.partition(":")
        if word == "every" and number.isascii() and number.isdigit() and int(number) > 0:
            return int(number)
        return None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a decoder makes of one image of a file.

    Attributes:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8, or uint16 where 16 bits are wanted.
        width: Of the file's image in pixels, after turning upright.
        height: Likewise.
        mode: How the file holds its pixels: in Pillow's words (L, RGB, I;16, CMYK), DICOM's
            photometric interpretation with its bits, or the type of a volume's numbers.
        notes: Each change that lost or moved something.
        facts: Technical DICOM attributes by keyword, from a closed list.
        patient: Identity as a DICOM file states it, for hashing only; never written.
    """

    pixels: NDArray[Any]
    width: int
    height: int
    mode: str
    notes: list[str]
    facts: dict[str, str] = field(default_factory=dict)
    patient: str | None = None


@dataclass(frozen=True, kw_only=True)
class Image:
    """Pixels of one image, upright, and what was done to get them.

    Attributes:
        pixels: Grey (H, W) or RGB (H, W, 3), uint8, or uint16 where 16 bits were asked for; colour
            with three equal channels is grey.
        format: PNG, JPEG, TIFF, WebP, JPEG 2000, DICOM, NIfTI, npz or HDF5.
        width: As `Picture.width`.
        height: As `Picture.height`.
        mode: As `Picture.mode`.
        conversion: The notes, joined by "; "; empty if none.
        checksum: The first 32 hexadecimal digits of SHA-256: of the file's bytes, with the frame's
            number where it is one of several; of an array in a container, of its own bytes.
        facts: As `Picture.facts`.
        patient: As `Picture.patient`.
    """

    pixels: NDArray[Any]
    format: str
    width: int
    height: int
    mode: str
    conversion: str
    checksum: str
    facts: dict[str, str] = field(default_factory=dict)
    patient: str | None = field(default=None, repr=False)
