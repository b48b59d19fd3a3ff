"""How image files are to be read; nothing heavy is imported here, so that `--help` is quick."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from medstrata.runtime.errors import require, require_choices

Axis = Literal["axial", "coronal", "sagittal"]
AXES: tuple[Axis, ...] = get_args(Axis)

# Center and width in Hounsfield units, as radiology departments commonly set them
# (radiopaedia.org/articles/windowing-ct, 2023).
PRESETS: dict[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (50, 350),
    "soft-tissue": (50, 400),
    "liver": (30, 150),
    "bone": (400, 1800),
    "brain": (40, 80),
    "stroke": (40, 40),
}


@dataclass(frozen=True, kw_only=True)
class ReadSettings:
    """What to take from a file, and how its values become grey levels.

    Attributes:
        window: Grey values of more than 8 bits: "first" (the first window or table that a DICOM
            file names; where there is none, percentiles), "percentile", "full" (lowest to highest
            value), the name a DICOM file gives to one of its windows, a preset for CT in Hounsfield
            units ("lung", ...), or "CENTER/WIDTH" in the units of the file.
        frames: Of a file with several images: "middle" (the first page of a TIFF, whose others are
            often reduced copies), "all", or "every:N", the first and each N-th after it.
        axis: Along which a volume is cut into slices.
        bits: Of the grey levels that are wanted.
    """

    window: str = "first"
    frames: str = "middle"
    axis: Axis = "axial"
    bits: Literal[8, 16] = 8

    def __post_init__(self) -> None:
        require_choices(self)
        start = self.window.strip()[:1]
        looks_numeric = start in tuple("+-.0123456789")
        require(
            bool(start) and not (looks_numeric and window_range(self.window) is None),
            self,
            "window",
            "first, percentile, full, a window's name in the files, CENTER/WIDTH with a width "
            f"above 0 such as 40/400, or one of {', '.join(PRESETS)}",
        )
        require(
            self.frames in ("middle", "all") or self.step is not None,
            self,
            "frames",
            "middle, all or every:N, N above 0",
        )

    @property
    def step(self) -> int | None:
        """N of "every:N"; 1 for "all"; None otherwise."""
        if self.frames == "all":
            return 1
        word, _, number = self.frames.partition(":")
        if word == "every" and number.isascii() and number.isdigit() and int(number) > 0:
            return int(number)
        return None


def window_range(window: str) -> tuple[float, float] | None:
    """Lowest and highest value of a preset or of "CENTER/WIDTH"; None if it is neither."""
    center, width = PRESETS.get(window.lower(), (0.0, 0.0))
    if not width:
        try:
            center, width = (float(number) for number in window.split("/"))
        except ValueError:
            return None
    if not (math.isfinite(center) and math.isfinite(width) and width > 0):
        return None
    return center - width / 2, center + width / 2
