"""What `prepare` was pointed at: which samples there are, and on demand what is known of them.

Legend: N samples.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from medstrata.data.datasets.registry import find_dataset
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.annotations import (
    Annotations,
    Columns,
    annotate,
    file_names,
    no_annotations,
)
from medstrata.data.prepare.indexed import read_index
from medstrata.data.prepare.split_rules import SplitRule, parse_rule
from medstrata.data.sources import Sources, from_folder, from_list, with_frames
from medstrata.data.tables import read_table
from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True)
class Found:
    """Samples, and how to learn what is known of them.

    Attributes:
        sources: The samples.
        rule: How they are split.
        digest: Names what the table says; None without one.
        describe: Joins the table and says what it finds; a row a sample.
    """

    sources: Sources
    rule: SplitRule
    digest: str | None
    describe: Callable[[], Annotations]

    def thinned(self, most: int) -> "Found":
        """Evenly spaced samples, at most so many."""
        kept = np.linspace(0, len(self.sources) - 1, min(most, len(self.sources)))
        places = np.unique(kept.round().astype(np.int64))
        fewer = replace(
            self.sources, places=self.sources.places[places], frames=self.sources.frames[places]
        )
        return replace(self, sources=fewer, describe=lambda: self.describe().spread(places))


def find_images(
    source: Path,
    labels: Path | None,
    split: str | None,
    reading: ReadSettings,
    columns: Columns,
    workers: int,
) -> Found:
    """Find the images of a folder, or those that a list names.

    Args:
        source: Folder, or CSV or Parquet list.
        labels: Table of labels; the list itself if None.
        split: As `parse_rule` takes it.
        reading: Which frames of files with several images.
        columns: Of the tables.
        workers: Threads that count frames.

    Raises:
        MedstrataError: there are no images, or the split names a column and there is no table.
    """
    if not source.exists():
        raise MedstrataError(f"{source} does not exist; give a folder of images or a list of them")
    if source.suffix.lower() == ".npz":
        raise MedstrataError(
            f"{source} holds arrays: add --dataset npz, or the name of a known set"
        )
    rule = parse_rule(split)
    if source.is_dir():
        files = from_folder(source)
    else:
        listed = read_table(source)
        root = source.parent.resolve()
        files = from_list(source, file_names(listed, source, columns.file, root))
        labels = labels or source
    sources = with_frames(files, reading, workers)

    def describe() -> Annotations:
        if labels is None:
            return no_annotations(len(sources))
        table = read_table(labels)
        names = file_names(table, labels, columns.file, files.root)
        known = annotate(files, table, names, labels, columns, rule.column)
        return known.spread(sources.places)

    if labels is None and rule.column is not None:
        raise MedstrataError(f"split {split!r} names a column: give the table with --labels")
    return Found(sources, rule, None if labels is None else _file_digest(labels), describe)


def find_known(source: Path, name: str, split: str | None, uncertain: str) -> Found:
    """Find the images of a known data set.

    Args:
        source: Where it lies.
        name: As the catalog calls it.
        split: One of its ready-made splits, or as `parse_rule` takes it.
        uncertain: As `read_index` takes it.

    Raises:
        MedstrataError: there is no such data set, or it is incomplete.
    """
    sources, known, rule = read_index(find_dataset(name), source, split, uncertain)
    table = known.labels.assign(patient=known.patients, split=known.split_values)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return Found(sources, rule, digest.hexdigest(), lambda: known)


def _file_digest(path: Path) -> str:
    if not path.is_file():
        raise MedstrataError(f"{path} is missing: give a CSV or Parquet file")
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
