"""What is known of a public data set, and which of its splits is meant."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from medstrata.data.view_settings import Modality
from medstrata.runtime.errors import MedstrataError

SPLIT = "split."  # columns of ready-made splits begin so
# How a data set's images are described whose kind has views of its own.
_PRESETS: Mapping[str, Modality] = {
    "chest radiographs": "chest",
    "histopathology": "histopathology",
    "colour fundus": "retina",
}


class DamagedCopy(MedstrataError):  # noqa: N818  (a finding about a copy)
    """What is missing or wrong in a copy of a data set; its facts say where a sound one is."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Facts of a data set, and how its files become a table.

    Attributes:
        name: As it is typed.
        title: As its authors call it.
        modality: What kind of images.
        images: How many there are; None if that differs from copy to copy.
        patients: Of how many patients; None if that is not known.
        labels: Label columns with their values in order; of 0/1 columns the second is positive.
            Empty if each copy has its own.
        ordinal: Label columns whose values ascend.
        uncertain: Text that marks an uncertain label, None without such.
        task: What to give as `--task`.
        splits: Ready-made splits, the default first; empty without any.
        split_files: Of splits that need files of their own: which, and where they are found.
        split_sizes: Of splits: how many images of each part are published.
        optional_images: Images of a part that not every copy has, beyond `images`.
        optional_patients: Patients of that part, beyond `patients`.
        licence: Terms of use.
        citation: Whom to cite.
        url: Where it is found.
        layout: The folder tree that `index` expects.
        checksums: "md5:..." or "sha256:..." of files, where published.
        note: What to know before trusting a score.
        index: Makes the table of all images below a root, as `text_table` gives it, or raises
            `DamagedCopy`; called by `table`, which adds the address to what it raises.
    """

    name: str
    title: str
    modality: str
    images: int | None = None
    patients: int | None = None
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ordinal: tuple[str, ...] = ()
    uncertain: str | None = None
    task: str
    splits: tuple[str, ...] = ()
    split_files: Mapping[str, str] = field(default_factory=dict)
    split_sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    optional_images: int = 0
    optional_patients: int = 0
    licence: str
    citation: str
    url: str
    layout: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    index: Callable[[Path], pd.DataFrame]

    @property
    def preset(self) -> Modality | None:
        """The kind of images whose views suit these; None where there is no such kind."""
        return next(
            (kind for begin, kind in _PRESETS.items() if self.modality.startswith(begin)), None
        )

    def table(self, root: Path) -> pd.DataFrame:
        """The table of all images below a root.

        Raises:
            MedstrataError: the copy there is damaged or not all of it.
        """
        try:
            return self.index(root)
        except DamagedCopy as error:
            raise MedstrataError(f"{error}: get a sound copy, see {self.url}") from error


def choose_split(dataset: Dataset, table: pd.DataFrame, split: str | None = None) -> str | None:
    """The column of a ready-made split.

    Args:
        dataset: Whose splits.
        table: As `dataset.table` made it.
        split: Name of a split; the default one if None.

    Returns:
        A column of the table; None if none is asked for and there is none.

    Raises:
        MedstrataError: there is no such split, or its files are missing.
    """
    present = [name.removeprefix(SPLIT) for name in table.columns if name.startswith(SPLIT)]
    if split is None:
        split = next(iter((*dataset.splits, *present)), None)
        if split is None:
            return None
    if split in present:
        return SPLIT + split
    if split in dataset.split_files:
        raise MedstrataError(
            f"split {split!r} of {dataset.name} needs {dataset.split_files[split]}"
        )
    names = ", ".join(dict.fromkeys((*dataset.splits, *present))) or "none; it is drawn by patient"
    raise MedstrataError(f"{dataset.name} has no split {split!r}; ready-made are: {names}")
