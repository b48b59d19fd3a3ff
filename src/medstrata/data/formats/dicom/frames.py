"""The frames of a DICOM file: how many it holds, and where what is said of one stands."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydicom import Dataset

_ITEM = b"\xfe\xff\x00\xe0"


def count_held_frames(dataset: "Dataset") -> int:
    """Frames that a file says it has, at most those that its bytes can hold; 1 at least."""
    count = int(dataset.get("NumberOfFrames") or 1)
    data = dataset.get("PixelData") or b""
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return max(1, min(count, data.count(_ITEM) - 1))  # the first item is a table of offsets
    data = data or dataset.get("FloatPixelData") or dataset.get("DoubleFloatPixelData") or b""
    bits = int(dataset.get("Rows") or 1) * int(dataset.get("Columns") or 1)
    bits *= int(dataset.get("BitsAllocated") or 1)
    return max(1, min(count, 8 * len(data) // bits))


def frame_item(dataset: "Dataset", frame: int, sequence: str) -> "Dataset":
    """Where an attribute of a frame stands: its own functional group, the shared one, the file."""
    groups = dataset.get("PerFrameFunctionalGroupsSequence") or []
    own = [groups[frame]] if frame < len(groups) else []
    for group in (*own, *(dataset.get("SharedFunctionalGroupsSequence") or [])[:1]):
        if group.get(sequence):
            return group[sequence][0]  # type: ignore[no-any-return]
    return dataset


def as_list(value: Any) -> list[Any]:
    """A value of multiplicity 0, 1 or more as a list."""
    if value is None or value == "":
        return []
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
