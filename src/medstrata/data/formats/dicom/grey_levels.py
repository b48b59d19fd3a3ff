"""Stored DICOM values to grey levels: modality transform, then table or window, then polarity.

Legend: H W height and width. Section numbers are those of part 3 of the DICOM standard (2024).
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.formats.dicom.frames import as_list, frame_item
from medstrata.data.formats.grey_levels import (
    Transfer,
    check_numbers,
    own_range,
    ramp,
    to_levels,
)
from medstrata.data.formats.read_settings import PRESETS, ReadSettings, window_range
from medstrata.data.formats.refusals import ImageError

if TYPE_CHECKING:
    from pydicom import Dataset


class GreyLevels:
    """How one frame's stored values become grey levels.

    Args:
        dataset: The file.
        frame: Number of the frame; enhanced objects have windows and slopes of their own for each.
        reading: Window and depth that are wanted.
    """

    def __init__(self, dataset: "Dataset", frame: int, reading: ReadSettings) -> None:
        self._dataset = dataset
        self._modality = frame_item(dataset, frame, "PixelValueTransformationSequence")
        self._voi = frame_item(dataset, frame, "FrameVOILUTSequence")
        self._reading = reading

    def of(self, stored: NDArray[Any], notes: list[str]) -> NDArray[Any]:
        """Grey levels, black lowest, shape (H, W), uint8 or uint16.

        Raises:
            ImageError: the wanted window is not there or does not fit.
        """
        check_numbers(stored, notes)
        inverted = self._dataset.get("PhotometricInterpretation") == "MONOCHROME1"

        def choose(values: NDArray[np.float64], counts: NDArray[np.int64] | None) -> Transfer:
            transfer = self._transfer(values, counts, notes)
            if not inverted:
                return transfer
            notes.append("MONOCHROME1 inverted")
            return lambda values: 1 - transfer(values)

        ignored = self._padding(notes)
        levels = to_levels(stored, self._units(notes), choose, self._reading.bits, ignored)
        if levels.min() == levels.max() and np.nanmin(stored) != np.nanmax(stored):
            what = "; ".join(notes) or "display levels"
            raise ImageError(
                f"every pixel of it has one grey level by the window ({what}), though its values "
                "differ: --window percentile goes by them"
            )
        return levels

    def _units(self, notes: list[str]) -> Transfer:
        """Modality table, or rescale slope and intercept (C.11.1)."""
        tables = self._dataset.get("ModalityLUTSequence")
        if tables:
            notes.append("modality table applied")
            return _lookup_table(tables[0])
        slope, intercept = self._rescale()
        if (slope, intercept) == (1.0, 0.0):
            return lambda stored: stored
        notes.append(f"x {slope:g} + {intercept:g}")
        return lambda stored: stored * slope + intercept

    def _rescale(self) -> tuple[float, float]:
        slope = _number(self._modality, "RescaleSlope", 1.0)
        return slope, _number(self._modality, "RescaleIntercept", 0.0)

    def _transfer(
        self, values: NDArray[np.float64], counts: NDArray[np.int64] | None, notes: list[str]
    ) -> Transfer:
        """The wanted table or window (C.11.2), else percentiles."""
        wanted = self._reading.window
        if wanted in ("percentile", "full") or window_range(wanted) is not None:
            modality = str(self._dataset.get("Modality", ""))
            if wanted.lower() in PRESETS and modality != "CT":
                raise ImageError(f"window {wanted} is in Hounsfield units, this is not CT")
            return _ranged(wanted, values, counts, notes)
        tables = self._voi.get("VOILUTSequence") if wanted == "first" else None
        if tables:
            notes.append("table of the file")
            table, highest = _lookup_table(tables[0]), _highest(tables[0], notes)
            return lambda values: np.clip(table(values) / highest, 0, 1)
        place = self._window_place(wanted)
        if place is None and self._is_displayed_as_stored():
            return ramp(0, 2 ** int(self._dataset.BitsStored) - 1)
        if place is None:
            return _ranged("percentile", values, counts, notes)
        center, width = (
            float(as_list(self._voi.get(name))[place]) for name in ("WindowCenter", "WindowWidth")
        )
        if wanted == "first" and not (np.isfinite(center) and np.isfinite(width) and width > 0):
            notes.append("window of the file that is none passed over")
            return _ranged("percentile", values, counts, notes)
        return _windowed(str(self._voi.get("VOILUTFunction", "LINEAR")), center, width, notes)

    def _window_place(self, wanted: str) -> int | None:
        """Number of the wanted window; None if the first is wanted and there is none."""
        count = min(len(as_list(self._voi.get(name))) for name in ("WindowCenter", "WindowWidth"))
        if wanted == "first":
            return 0 if count else None
        names = [
            str(name).strip().lower()
            for name in as_list(self._voi.get("WindowCenterWidthExplanation"))[:count]
        ]
        if wanted.strip().lower() not in names:
            raise ImageError(f"no window {wanted!r} in it")
        return names.index(wanted.strip().lower())

    def _is_displayed_as_stored(self) -> bool:
        """Whether values are display levels: 8 bits, no sign, nothing to be done to them."""
        plain = self._rescale() == (1.0, 0.0) and not self._dataset.get("ModalityLUTSequence")
        bits, signed = self._dataset.get("BitsStored"), self._dataset.get("PixelRepresentation")
        return bool(bits and bits <= 8 and not signed and plain)

    def _padding(self, notes: list[str]) -> tuple[int, int] | None:
        """Range of stored values that pad the image (C.7.5.1.1.2)."""
        first = self._dataset.get("PixelPaddingValue")
        if first is None:
            return None
        last = self._dataset.get("PixelPaddingRangeLimit")
        low, high = sorted(
            self._as_stored(int(value)) for value in (first, first if last is None else last)
        )
        notes.append(f"padding {low}{f'..{high}' if high > low else ''} made black")
        return low, high

    def _as_stored(self, value: int) -> int:
        """A stored value that a file of signed pixels writes as an unsigned number."""
        bits = int(self._dataset.get("BitsAllocated") or 16)
        signed = bool(self._dataset.get("PixelRepresentation"))
        return value - 2**bits if signed and value >= 2 ** (bits - 1) else value


def _ranged(
    wanted: str,
    values: NDArray[np.float64],
    counts: NDArray[np.int64] | None,
    notes: list[str],
) -> Transfer:
    low, high = own_range(wanted, values, counts)
    notes.append(f"{wanted} window {low:g}..{high:g}")
    return ramp(low, high)


def _windowed(function: str, center: float, width: float, notes: list[str]) -> Transfer:
    """A window of the file by one of the three functions of C.11.2.1.2 and C.11.2.1.3."""
    name = function.strip().upper() or "LINEAR"
    if name not in ("LINEAR", "LINEAR_EXACT", "SIGMOID"):
        raise ImageError("window with a function that the standard does not have")
    notes.append(f"window {center:g}/{width:g}{'' if name == 'LINEAR' else f' {name}'}")
    if not (np.isfinite(center) and np.isfinite(width)):
        raise ImageError("window that is not finite")
    if name == "SIGMOID" and width > 0:
        return lambda values: 1 / (1 + np.exp(np.clip(-4 * (values - center) / width, -700, 700)))
    if name == "LINEAR_EXACT" and width > 0:
        return ramp(center - width / 2, center + width / 2)
    if name == "LINEAR" and width >= 1:
        return ramp(center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2)
    if name == "LINEAR" and width > 0:
        # It is for whole numbers; where a window is narrower than one, values are not.
        notes.append("taken for LINEAR_EXACT")
        return ramp(center - width / 2, center + width / 2)
    raise ImageError(f"window of width {width:g} with function {name}")


def _highest(item: "Dataset", notes: list[str]) -> int:
    """What is white in a table: what its descriptor says, unless its entries have fewer bits.

    Some makers state 16 bits for entries of 12, whose picture would be all but black; viewers go by
    the entries, too.
    """
    declared = int(item.LUTDescriptor[2])
    held = int(_entries(item).max()).bit_length()
    if not 0 < held < declared:
        return int(2**declared - 1)
    notes.append(f"its entries have {held} of the {declared} bits that it states")
    return int(2**held - 1)


def _lookup_table(item: "Dataset") -> Transfer:
    """A look-up table: values below its first and above its last entry take these."""
    entries, first = _entries(item), int(item.LUTDescriptor[1])
    last = len(entries) - 1
    return lambda values: entries[np.clip(values - first, 0, last).astype(np.int64)]


def _entries(item: "Dataset") -> NDArray[np.float64]:
    count, _, bits = (int(value) for value in item.LUTDescriptor)
    if not 1 <= bits <= 16:
        raise ImageError(f"look-up table with entries of {bits} bits")
    count = count or 2**16  # as the descriptor's 16 bits say 65,536
    data = item["LUTData"].value
    if isinstance(data, bytes):
        order = ">" if item.original_encoding[1] is False else "<"
        wide = np.frombuffer(data, np.uint8 if len(data) < 2 * count else f"{order}u2")
    else:
        wide = np.atleast_1d(np.asarray(data, dtype=np.int64)) & (2**bits - 1)
    if len(wide) < count:
        raise ImageError("look-up table that is shorter than it says")
    return wide[:count].astype(np.float64)


def _number(dataset: "Dataset", name: str, default: float) -> float:
    value = dataset.get(name)
    number = default if value is None or value == "" else float(value)
    if not np.isfinite(number):
        raise ImageError(f"{name} that is not finite")
    return number
