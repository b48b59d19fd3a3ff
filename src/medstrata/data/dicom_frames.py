"""The frames of a DICOM file: how many it holds, where theirs stands, how large they are."""

from typing import TYPE_CHECKING, Any

from medstrata.data.refusals import MAX_PIXELS, Refused

if TYPE_CHECKING:
    from pydicom import Dataset

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG and JPEG-LS
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length
_CODESTREAM = b"\xff\x4f\xff\x51"  # JPEG 2000
_ITEM = b"\xfe\xff\x00\xe0"


def held_frames(dataset: "Dataset") -> int:
    """Frames that a file says it has, at most those that its bytes can hold; 1 at least."""
    count = int(dataset.get("NumberOfFrames") or 1)
    data = dataset.get("PixelData") or b""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return max(1, min(count, data.count(_ITEM) - 1))  # the first item is a table of offsets
    data = data or dataset.get("FloatPixelData") or dataset.get("DoubleFloatPixelData") or b""
    bits = int(dataset.get("Rows") or 1) * int(dataset.get("Columns") or 1)
    bits *= int(dataset.get("BitsAllocated") or 1)
    return max(1, min(count, 8 * len(data) // bits))


def of_frame(dataset: "Dataset", frame: int, sequence: str) -> "Dataset":
    """Where an attribute of a frame stands: its own functional group, the shared one, the file."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    own = [groups[frame]] if frame < len(groups) else []
    for group in (*own, *(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]):
        if group.get(sequence):
            return group[sequence][0]  # type: ignore[no-any-return]
    return dataset


def several(value: Any) -> list[Any]:
    """A value of multiplicity 0, 1 or more as a list."""
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]


def refuse_oversized(dataset: "Dataset", frame: int) -> None:
    """Refuse a compressed frame whose own header claims another size than the file does.

    A codec allocates what the frame claims, which in a damaged or hostile file may be anything.

    Raises:
        Refused: the sizes differ.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated or "PixelData" not in dataset:
        return
    from pydicom.encaps import get_frame

    count = max(1, int(dataset.get("NumberOfFrames") or 1))
    extended = [dataset.get(f"ExtendedOffsetTable{end}") for end in ("", "Lengths")]
    offsets = (extended[0], extended[1]) if all(extended) else None
    data = get_frame(
        dataset.PixelData,
        frame,
        number_of_frames=count,
        extended_offsets=offsets,
    )
    size = declared_size(data)
    if size is None:
        return
    width, height = size
    if width * height > MAX_PIXELS or size != (int(dataset.Columns), int(dataset.Rows)):
        raise Refused(
            f"damaged DICOM: {int(dataset.Columns)} x {int(dataset.Rows)} pixels by the file, "
            f"{width} x {height} by its compressed frame"
        )


def declared_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in the header of a JPEG, JPEG-LS or JPEG 2000 stream; None if not found."""
    if data.startswith(b"\xff\x4f\xff\x51"):
        right, bottom, left, top = _numbers(data[8:24], 4)
        return right - left, bottom - top
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 9 < len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _START_OF_FRAME:
            height, width = _numbers(data[place + 5 : place + 9], 2)
            return width, height
        if marker in _ALONE or marker == 0xFF:
            place += 1 if marker == 0xFF else 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None


def _numbers(data: bytes, size: int) -> list[int]:
    """Unsigned numbers of some bytes each, the highest byte first."""
    return [int.from_bytes(data[i : i + size], "big") for i in range(0, len(data), size)]
