"""A weights file of any program as tensors by name; nothing in it can run code."""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from medstrata.runtime.errors import MedstrataError, is_out_of_memory

_DEEPEST = 8  # containers within containers
_LONGEST = 200  # characters of a name
_OWN = ("builtins.", "collections.", "typing.")
_ZIP = b"PK\x03\x04"
# Checkpoints keep a best score as a NumPy scalar. It holds no code; arrays of objects stay out.
_SCALARS: list[Any] = [
    (np._core.multiarray.scalar, "numpy._core.multiarray.scalar"),  # type: ignore[attr-defined]  # noqa: SLF001
    (np._core.multiarray.scalar, "numpy.core.multiarray.scalar"),  # type: ignore[attr-defined]  # noqa: SLF001
    np.dtype,
    *{type(np.dtype(code)) for code in "?bhilqBHILQefd"},
]


def read_tensors(path: Path) -> dict[str, Tensor | None]:
    """Read safetensors, or what `torch.save` wrote, without unpickling objects.

    Args:
        path: The file.

    Returns:
        Every leaf by its place, the containers around it set off by `/` as in
        `state_dict/module.conv1.weight`; None for a leaf that is no tensor.

    Raises:
        MedstrataError: the file is missing or damaged, needs Python objects, or is something else.
    """
    if not path.is_file():
        raise MedstrataError(f"no weights file at {path}")
    with path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"version https://git-lfs"):
        raise MedstrataError(f"{path} is a pointer of Git LFS, not the weights; run git lfs pull")
    found: dict[str, Tensor | None] = {}
    for name, value in _leaves(_load(path, start), path):
        if name in found:
            raise MedstrataError(f"{path} holds two entries named {name}; save it anew")
        found[name] = value
    return found


def _load(path: Path, start: bytes) -> Any:
    zipped = start.startswith(_ZIP)
    if zipped and path.suffix != ".safetensors":
        _check_archive(path)
    try:
        if path.suffix == ".safetensors" or (start[8:9] == b"{" and not zipped):
            return load_file(path)
        # Mapped, an optimizer's state beside the weights costs no memory.
        with torch.serialization.safe_globals(_SCALARS), warnings.catch_warnings():
            # Of pickle's protocols, before the file is refused or read all the same.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except Exception as error:  # each format fails in its own way
        if is_out_of_memory(error):
            raise
        # PyTorch's own words advise to load without protection.
        raise MedstrataError(_refusal(path, zipped, error)) from error


def _check_archive(path: Path) -> None:
    """Refuse what `torch.save` never writes: compression, overlaps, odd paths, doubles."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise MedstrataError(f"{path} is truncated or damaged; fetch it again") from error
    names = [entry.filename for entry in entries]
    odd = [
        name
        for name in names
        if "\\" in name or name.startswith("/") or ".." in PurePosixPath(name).parts
    ]
    if odd or len(set(names)) < len(names):
        raise MedstrataError(f"{path} names its entries as no weights file does; do not trust it")
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or (
        sum(entry.file_size for entry in entries) > path.stat().st_size
    ):
        raise MedstrataError(
            f"{path} is compressed or unpacks to more than it holds; no weights file is so, do not "
            "trust it"
        )
    kinds = {"/".join(PurePosixPath(name).parts[1:]) for name in names}
    if "constants.pkl" in kinds or "data.pkl" not in kinds:
        raise MedstrataError(
            f"{path} is an archive without a state dict (TorchScript or another format); {_save()}"
        )


def _refusal(path: Path, zipped: bool, error: Exception) -> str:
    objects = _objects(path, zipped, error)
    if objects:
        listed = ", ".join(objects[:3]) + (", ..." if len(objects) > 3 else "")
        return f"{path} holds Python objects ({listed}), which could run code; {_save(path.name)}"
    if "legacy .tar" in str(error):
        return f"{path} is in PyTorch's .tar format of 2016; {_save(path.name)}"
    return (
        f"{path} cannot be read as weights ({type(error).__name__}): damaged, or no file of "
        "safetensors or torch.save"
    )


def _objects(path: Path, zipped: bool, error: Exception) -> list[str]:
    """Names of the objects that a file would have to be trusted with."""
    named = re.findall(r"(?:GLOBAL|class) '?([A-Za-z_][\w.]*\.\w+)'?", str(error))
    if named and zipped:
        try:
            with torch.serialization.safe_globals(_SCALARS):
                named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        except Exception:  # noqa: BLE001  (a damaged pickle; what its first error named stands)
            return [_printable(named[0])]
    # What is Python's own says least of whose objects they are.
    return sorted(
        {_printable(name) for name in named}, key=lambda name: (name.startswith(_OWN), name)
    )


def _save(name: str = "FILE") -> str:
    target = f"{Path(name).stem}.safetensors"
    return (
        "where you trust it, save its tensors alone (state_dict may be named otherwise): "
        "import torch; from safetensors.torch import save_file; "
        f"state = torch.load('{_printable(name)}', weights_only=False)['state_dict']; "
        f"save_file({{k: v.clone() for k, v in state.items()}}, '{_printable(target)}')"
    )


def _leaves(content: Any, path: Path) -> Iterator[tuple[str, Tensor | None]]:
    if not isinstance(content, Mapping):
        raise MedstrataError(f"{path} holds no state dict of tensors; give the weights alone")
    waiting: list[tuple[str, Any, int]] = [("", content, 0)]
    held = path.stat().st_size
    seen: set[int] = set()  # a container may hold itself
    while waiting:
        place, value, depth = waiting.pop()
        if isinstance(value, Mapping):
            if depth <= _DEEPEST and id(value) not in seen:
                seen.add(id(value))
                inner = [
                    (_joined(place, key, container=isinstance(one, Mapping)), one, depth + 1)
                    for key, one in value.items()
                ]
                waiting.extend(reversed(inner))
        elif isinstance(value, Tensor):
            plain = value.device.type == "cpu" and value.layout == torch.strided
            if not plain or value.is_quantized:
                raise MedstrataError(
                    f"{path}: {place} is quantised, sparse or empty; save it plain"
                )
            if value.numel() * value.element_size() > held:
                raise MedstrataError(
                    f"{path}: {place} claims more than the file holds; do not trust it"
                )
            yield place, value.detach()
        else:
            yield place, None


def _joined(place: str, key: object, *, container: bool) -> str:
    return f"{place}{_printable(str(key))}{'/' if container else ''}"


def _printable(name: str) -> str:
    """Names come from the file and go to a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:_LONGEST])
