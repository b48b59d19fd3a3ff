"""Which images there are: those of a folder tree, or those that a list names.

Nothing outside the source folder is ever named. A file is opened only to see whether one without a
suffix is DICOM, and to count its images where more than one of them may be wanted.

Legend: N samples.
"""

import hashlib
import os
import posixpath
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.formats.dicom.read import is_dicom
from medstrata.data.formats.read import list_frames
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.runtime.console import progress_bar, say
from medstrata.runtime.errors import MedstrataError

OUTSIDE = "path leads out of the source folder"
LINK_OUTSIDE = (
    "link that leads out of the source folder; prepare and embed read it by --follow-links true"
)

_DICOM = (".dcm", ".dicom", ".ima")
_VOLUMES = (".nii", ".nii.gz")
_SINGLE = (
    *(".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".jpx"),
    *(".bmp", ".pgm", ".ppm", ".pbm", ".pnm"),
)
READABLE = (*_SINGLE, ".tif", ".tiff", ".webp", ".gif", *_DICOM, *_VOLUMES)
# Files of these kinds are images that are not read: they are listed, so that none is lost unseen.
OTHER_IMAGES = (
    *(".nrrd", ".mha", ".mhd", ".mgz", ".hdr", ".npy", ".npz", ".h5", ".hdf5"),
    *(".jxl", ".jls", ".avif", ".heic", ".heif", ".tga", ".pcx", ".psd"),
    *(".svs", ".ndpi", ".mrxs", ".scn", ".czi", ".vsi"),
)
_ALONE = (-1,)  # the frames of a file that one image stands for
_IMAGES = (*READABLE, *OTHER_IMAGES)


@dataclass(frozen=True)
class Sources:
    """Images to read.

    Attributes:
        root: Folder that holds them, resolved.
        files: POSIX paths relative to the root, each once.
        file_index: File of each sample, its index in `files`, ascending; int64, shape (N,).
        frames: Frame, slice or row of the file; -1 where one image stands for the file; int64,
            shape (N,), ascending within a file.
        refused: Pairs of name and reason of images that cannot be read for what they are.
        digest: Names the files by path, size and time of change.
        arrays: Whether frames are rows of arrays, which have nothing in common; frames of other
            files are of one patient.
        follow_links: Whether links that lead out of the root are read.
    """

    root: Path
    files: list[str]
    file_index: NDArray[np.int64]
    frames: NDArray[np.int64]
    refused: list[tuple[str, str]]
    digest: str
    arrays: bool = False
    follow_links: bool = False

    def __len__(self) -> int:
        return len(self.file_index)

    @property
    def boundary(self) -> Path | None:
        """The folder that no file may lead out of; None where links are followed."""
        return None if self.follow_links else self.root

    def path(self, sample: int) -> Path:
        """The file of a sample."""
        return self.root / self.files[int(self.file_index[sample])]

    def name(self, sample: int) -> str:
        """The file of a sample, with "#" and the frame where that is one of several."""
        file, frame = self.files[self.file_index[sample]], self.frames[sample]
        return file if frame < 0 else f"{file}#{frame}"


def from_folder(folder: Path, *, follow_links: bool = False) -> Sources:
    """Find the images in a folder and the folders below it, in order of their paths.

    Hidden files and stores are passed over. Files without a suffix, or with a number for one, are
    images where they begin as DICOM does.

    Args:
        folder: The folder.
        follow_links: Whether links to folders are entered, and links that lead out of the folder
            are read.

    Raises:
        MedstrataError: there are no images, or the folder cannot be listed.
    """
    root = folder.resolve()
    names, refused, others = [], [], Counter[str]()
    for name, reason in _walk(root, follow_links):
        suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else Path(name).suffix.lower()
        if reason:
            refused.append((printable(name), reason))
        elif suffix in READABLE or (_may_be_dicom(suffix) and _begins_as_dicom(root / name)):
            names.append(name)
        elif suffix in OTHER_IMAGES:
            refused.append((name, f"unsupported format {suffix}"))
        else:
            others[suffix or "no suffix"] += 1
    if not names:
        first = f"; {refused[0][0]}: {refused[0][1]}" if refused else ""
        raise MedstrataError(f"no images that can be read in {folder}{first}")
    if others:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5))
        say(f"passed over {others.total()} files that are not images ({kinds})")
    names.sort()
    refused.sort()
    return _one_each(root, names, refused, follow_links)


def from_list(path: Path, files: pd.Series, *, follow_links: bool = False) -> Sources:
    """Take the images that a list names, each once, in the list's order.

    Args:
        path: The list; names are relative to its folder.
        files: Names as `clean_name` gives them, null where a row has none.
        follow_links: Whether links that lead out of that folder are read.

    Raises:
        MedstrataError: the list names no file in its folder.
    """
    root = path.parent.resolve()
    named = files.dropna().drop_duplicates().tolist()
    names = [as_on_disk(root, name) for name in named if not leaves_root(name)]
    refused = [(name, OUTSIDE) for name in named if leaves_root(name)]
    if not names:
        if not refused:
            raise MedstrataError(f"{path} names no file")
        common = os.path.commonpath([posixpath.join(root, posixpath.dirname(n)) for n in named])
        raise MedstrataError(
            f"{path} names {len(refused)} files, none of them in its own folder {root} (the first: "
            f"{named[0]}): a list lies above its images, so put it into {os.path.normpath(common)}"
        )
    return _one_each(root, list(dict.fromkeys(names)), refused, follow_links)


def from_rows(
    root: Path, files: pd.Series, frames: NDArray[np.int64], *, follow_links: bool = False
) -> Sources:
    """Take one sample for each row of an index of files and frames.

    Args:
        root: Folder that the names are relative to, resolved.
        files: File of each row, none null.
        frames: Frame of each row, -1 for the one that stands for the file.
        follow_links: Whether links that lead out of the root are read.

    Returns:
        Samples in the order of the rows, whose frames must ascend within a file.
    """
    file_index, distinct = pd.factorize(files)
    names = [as_on_disk(root, name) for name in distinct]
    digest = _digest(root, names)
    if (frames >= 0).any():
        rows = np.stack([file_index, frames]).tobytes()
        digest = hashlib.blake2b(digest.encode() + rows, digest_size=16).hexdigest()
    index = file_index.astype(np.int64)
    return Sources(root, names, index, frames, [], digest, arrays=True, follow_links=follow_links)


def with_frames(sources: Sources, reading: ReadSettings, workers: int) -> Sources:
    """Take several images of each file that has several, as `ReadSettings.frames` says.

    Args:
        sources: One sample a file.
        reading: Which frames, and the axis of volumes.
        workers: Threads that open files to count their images.

    Returns:
        A sample a frame.
    """
    if reading.step is None:
        return sources
    step = reading.step
    wanted: list[Sequence[int]] = [_ALONE] * len(sources.files)
    may = [index for index, name in enumerate(sources.files) if not name.lower().endswith(_SINGLE)]
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(workers) as executor,
        progress_bar() as bar,
    ):
        warnings.simplefilter("ignore")  # those of decoders quote what a file says, names too
        task = bar.add_task("count frames", total=len(may))
        paths = (sources.root / sources.files[index] for index in may)
        for index, every in zip(
            may, executor.map(lambda path: list_frames(path, reading.axis), paths), strict=True
        ):
            wanted[index] = every[::step] if len(every) > 1 else _ALONE
            bar.advance(task)
    file_index = np.repeat(np.arange(len(wanted)), [len(some) for some in wanted])
    frames = np.fromiter(chain.from_iterable(wanted), np.int64, len(file_index))
    return replace(sources, file_index=file_index, frames=frames)


def _one_each(
    root: Path, names: list[str], refused: list[tuple[str, str]], follow_links: bool
) -> Sources:
    file_index = np.arange(len(names), dtype=np.int64)
    alone, digest = np.full_like(file_index, -1), _digest(root, names)
    return Sources(root, names, file_index, alone, refused, digest, follow_links=follow_links)


def evenly_spaced(count: int, most: int) -> NDArray[np.int64]:
    """Numbers of at most so many of `count` things, evenly spaced, the first and last with them."""
    return np.linspace(0, count - 1, min(count, most)).round().astype(np.int64)


def clean_name(name: str, root: Path) -> str:
    """A path as a table writes it, as a POSIX path relative to the root where it lies in it."""
    name = posixpath.normpath(name.strip().replace("\\", "/"))
    if name.startswith("/") and Path(name).is_relative_to(root):
        return Path(name).relative_to(root).as_posix()
    return name


def as_on_disk(root: Path, name: str) -> str:
    """A name as the disk spells it: letters with marks are one character or two, by the program."""
    if name.isascii() or (root / name).exists():
        return name
    forms = (unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((form for form in forms if (root / form).exists()), name)


def without_suffix(name: str) -> str:
    """A name without its image suffix; dots of other kinds, as in UIDs, stay."""
    suffix = next((suffix for suffix in _IMAGES if name.lower().endswith(suffix)), "")
    return name.removesuffix(name[len(name) - len(suffix) :])


def leaves_root(name: str) -> bool:
    """Whether a clean name points outside of its root."""
    return name.startswith(("/", "../")) or name in ("..", ".") or name[1:2] == ":"


def _walk(root: Path, follow_links: bool) -> Iterator[tuple[str, str]]:
    """Relative paths of files, and of folders that are not entered with the reason for it.

    A folder that links lead to is entered once, under the first name.
    """
    locked, seen = list[OSError](), set[Path]()
    for folder, folders, files in os.walk(root, onerror=locked.append, followlinks=follow_links):
        here = Path(folder)
        if _is_store(here) or (follow_links and here.resolve() in seen):
            folders.clear()
            continue
        seen.add(here.resolve() if follow_links else here)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        prefix = "" if here == root else f"{here.relative_to(root).as_posix()}/"
        for name in folders:
            # Path's own fails in a locked folder.
            if not follow_links and os.path.islink(here / name):  # noqa: PTH114
                yield prefix + name, "link to a folder, not followed"
        for name in files:
            if not name.startswith("."):
                yield prefix + name, "" if _is_text(name) else "name is not UTF-8"
    for error in locked:
        path = Path(error.filename)
        if path == root:
            raise MedstrataError(f"{root} cannot be listed ({error.strerror})")
        name = path.relative_to(root).as_posix()
        yield name, f"folder that cannot be listed: {error.strerror}"


def _is_store(folder: Path) -> bool:
    try:
        return any((folder / name).is_file() for name in ("store.json", "parts/plan.json"))
    except OSError:  # a folder that may be listed but not entered
        return False


def _may_be_dicom(suffix: str) -> bool:
    """Whether such a file may be DICOM: archives name files by their UIDs, without a suffix."""
    return suffix == "" or suffix[1:].isdigit()


def _begins_as_dicom(path: Path) -> bool:
    # A DICOMDIR is a table of contents; opening a pipe would wait for ever.
    if path.name == "DICOMDIR":
        return False
    try:
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return is_dicom(stream.read(132))
    except OSError:
        return False


def _is_text(name: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def printable(name: str) -> str:
    """A name of a file as text that can be written, whatever bytes it has on the disk."""
    return os.fsencode(name).decode("utf-8", "replace")


def _digest(root: Path, names: list[str]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        try:
            status = (root / name).stat()
        except (OSError, ValueError):  # ValueError: it holds a NUL
            digest.update(f"{name}\0missing\n".encode())
            continue
        digest.update(f"{name}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()
