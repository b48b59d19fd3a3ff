"""What a compressed DICOM frame says of its own size, before a codec believes it."""

from typing import TYPE_CHECKING

from medstrata.data.refusals import MAX_PIXELS, Refused

if TYPE_CHECKING:
    from pydicom import Dataset

_START_OF_FRAME = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}  # JPEG and JPEG-LS
_ALONE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


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
            f"damaged DICOM: {dataset.Columns} x {dataset.Rows} pixels by the file, "
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
