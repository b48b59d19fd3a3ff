"""Which image files there are: those of a folder tree, or those that a list names.

Files are never opened here, and nothing outside the source folder is ever named.
"""

import hashlib
import os
import posixpath
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from medstrata.console import say
from medstrata.errors import MedstrataError

OUTSIDE = "path leads out of the source folder"

_READABLE = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
# Files of these kinds are images that are not read: they are listed, so that none is lost unseen.
_OTHER_IMAGES = (
    *(".dcm", ".dicom", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd", ".npy", ".npz"),
    *(".bmp", ".gif", ".webp", ".jp2", ".j2k", ".jxl", ".svs", ".ndpi", ".mrxs", ".heic"),
)
_IMAGES = (*_READABLE, *_OTHER_IMAGES)


@dataclass(frozen=True)
class Sources:
    """Image files to read.

    Attributes:
        root: Folder that holds them, resolved.
        names: POSIX paths relative to the root, in the order of the samples.
        refused: Pairs of name and reason of images that cannot be read for what they are.
        digest: Names the files by path, size and time of change.
    """

    root: Path
    names: list[str]
    refused: list[tuple[str, str]]
    digest: str


def from_folder(folder: Path) -> Sources:
    """Find the images in a folder and the folders below it, in order of their paths.

    Hidden files and stores are passed over. Links to folders are not followed.

    Raises:
        MedstrataError: there are no images, or a folder cannot be listed.
    """
    root = folder.resolve()
    names, refused, others = [], [], Counter[str]()
    for name, is_linked_folder in _walk(root):
        suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else Path(name).suffix.lower()
        if is_linked_folder:
            refused.append((name, "link to a folder, not followed"))
        elif not _is_text(name):
            refused.append((os.fsencode(name).decode("utf-8", "replace"), "name is not UTF-8"))
        elif suffix in _READABLE:
            names.append(name)
        elif suffix in _OTHER_IMAGES:
            refused.append((name, f"unsupported format {suffix}; convert it to PNG, JPEG or TIFF"))
        else:
            others[suffix or "no suffix"] += 1
    if not names:
        first = f"; {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise MedstrataError(f"no PNG, JPEG or TIFF images in {folder}{first}")
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        say(f"passed over {others.total()} files that are not images ({kinds})")
    names.sort()
    refused.sort()
    return Sources(root, names, refused, _digest(root, names))


def from_list(path: Path, files: pd.Series) -> Sources:
    """Take the images that a list names, each once, in the list's order.

    Args:
        path: The list; names are relative to its folder.
        files: Names as `clean_name` gives them, null where a row has none.

    Raises:
        MedstrataError: the list names no file.
    """
    root = path.parent.resolve()
    named = files.dropna().drop_duplicates().tolist()
    names = [name for name in named if not leaves_root(name)]
    refused = [(name, OUTSIDE) for name in named if leaves_root(name)]
    if not names:
        raise MedstrataError(f"{path} names no file in {root}")
    return Sources(root, names, refused, _digest(root, names))


def clean_name(name: str, root: Path) -> str:
    """A path as a table writes it, as a POSIX path relative to the root where it lies in it."""
    name = posixpath.normpath(name.strip().replace("\\", "/"))
    if name.startswith("/") and Path(name).is_relative_to(root):
        return Path(name).relative_to(root).as_posix()
    return name


def without_suffix(name: str) -> str:
    """A name without its image suffix; dots of other kinds, as in UIDs, stay."""
    suffix = next((suffix for suffix in _IMAGES if name.lower().endswith(suffix)), "")
    return name.removesuffix(name[len(name) - len(suffix) :])


def leaves_root(name: str) -> bool:
    """Whether a clean name points outside of its root."""
    return name.startswith(("/", "../")) or name in ("..", ".") or name[1:2] == ":"


def _walk(root: Path) -> Iterator[tuple[str, bool]]:
    """Relative paths of files and of links to folders; the latter are marked."""
    for folder, folders, files in os.walk(root, onerror=_refuse):
        here = Path(folder)
        if (here / "store.json").is_file() or (here / "parts" / "plan.json").is_file():
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            if (here / name).is_symlink():
                yield (here / name).relative_to(root).as_posix(), True
        prefix = "" if here == root else f"{here.relative_to(root).as_posix()}/"
        for name in files:
            if not name.startswith("."):
                yield prefix + name, False


def _refuse(error: OSError) -> None:
    raise MedstrataError(
        f"{error.filename} cannot be listed ({error.strerror}): its images would be lost unseen"
    ) from error


def _is_text(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _digest(root: Path, names: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        try:
            status = (root / name).stat()
        except OSError:
            digest.update(f"{name}\0missing\n".encode())
            continue
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
