"""How a store is made; nothing heavy is imported here, so that `--help` is quick."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from medstrata.data.formats.read_settings import Axis, ReadSettings
from medstrata.runtime.errors import require, require_choices

Fit = Literal["pad", "crop", "stretch", "keep", "fundus"]
Uncertain = Literal["unknown", "negative", "positive"]
SMALLEST, LARGEST_KEPT = 8, 4096  # sides of stored images in pixels


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How images and their labels become a store; the same images and settings give the same store.

    Attributes:
        dataset: Name of a known data set, as `medstrata datasets` lists them, or of one of your own
            package, as `package.module:NAME`; files, patients, labels and splits are then those
            of its own index.
        labels: CSV, Parquet or Excel table; the source itself if that is a list.
        follow_links: Read links that lead out of the source folder, and enter links to folders; in
            the folder of a known data set links to files alone.
        size: Side of the stored images in pixels, 8 to 4096; none takes the longest side among
            some images, at most 256.
        channels: 1 (grey) or 3 (colour); none takes 1 if the images looked at are all grey.
        fit: `pad` with black, `crop` to the middle or `stretch` images that are not square; `keep`
            patches at their size, or cut out the lit circle of a `fundus`.
        window: How deep grey values become grey levels: `first` (of the DICOM file, else
            percentiles), `percentile`, `full`, CENTER/WIDTH, the name of a window in the files, or
            a CT preset such as `lung`.
        frames: Of a file with several images: `middle`, `all`, or `every:N`.
        axis: Along which volumes are cut into slices.
        bits: 8, or 16 for grey images whose depth is to be kept.
        file_column: Column with file names; guessed if none.
        patient_column: Column to split by; guessed if none. Besides, patients are told by a hash,
            by this site's key, of the patient that a DICOM file names; where neither says it, the
            patient of a file is unknown.
        patient_from: Regular expression that finds the patient in each path below the source: its
            first group, else all that it matches; instead of a column.
        site_column: Column that says where an image was made; guessed if none.
        label_columns: Label columns, as `[a, b]`; guessed if none.
        ordinal_columns: Label columns whose numbers have an order.
        label_separator: What stands between several findings of a cell, as `|`: such a column
            becomes one of 0 and 1 for each finding.
        uncertain: What uncertain labels of a known data set count as.
        split: Shares of patients as 0.7/0.1/0.2 (the default), which hold on average; a column that
            holds train, val and test; values of a column as fold:test=0,val=1, where the others
            train; or the name of a ready-made split of the known data set, whose first is the
            default there.
        seed: Decides drawn splits; 0 or more.
        max_quarantine: Share of unreadable images, 0 to 1, above which no store is made.
    """

    dataset: str | None = None
    labels: Path | str | None = None
    follow_links: bool = False
    size: int | None = None
    channels: Literal[1, 3] | None = None
    fit: Fit = "pad"
    window: str = "first"
    frames: str = "middle"
    axis: Axis = "axial"
    bits: Literal[8, 16] = 8
    file_column: str | None = None
    patient_column: str | None = None
    patient_from: str | None = None
    site_column: str | None = None
    label_columns: list[str] | None = None
    ordinal_columns: list[str] = field(default_factory=list)
    label_separator: str | None = None
    uncertain: Uncertain = "unknown"
    split: str | None = None
    seed: int = 0
    max_quarantine: float = 0.1

    @property
    def reading(self) -> ReadSettings:
        """How files are read."""
        return ReadSettings(window=self.window, frames=self.frames, axis=self.axis, bits=self.bits)

    def __post_init__(self) -> None:
        require_choices(self)
        sizes = f"{SMALLEST} to {LARGEST_KEPT} pixels, or none"
        sound = self.size is None or SMALLEST <= self.size <= LARGEST_KEPT
        require(sound, self, "size", sizes)
        require(self.seed >= 0, self, "seed", "0 or more")
        require(0 <= self.max_quarantine <= 1, self, "max_quarantine", "0 to 1")
        _ = self.reading  # which checks its own part
        if self.bits == 16 and self.channels == 3:
            raise ValueError("16 bits are kept of grey images alone: leave channels out")
        separator = self.label_separator
        sound = separator is None or bool(separator.strip())
        require(sound, self, "label_separator", "a sign that is no blank, or none")
        if self.patient_from is not None:
            _check_expression(self.patient_from)
            if self.patient_column is not None:
                raise ValueError("patients come from a column or from paths: leave one out")
        if self.dataset is not None and self.labels is not None:
            raise ValueError(f"data set {self.dataset} has labels of its own: leave labels out")


def _check_expression(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"patient_from {pattern!r} is no regular expression: {error}") from error
