"""Decode a folder tree, or the files of a CSV or Parquet list, once into a store."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_allow_leakage


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("source", type=Path, help="Folder of images, or a CSV or Parquet list of them.")
    add("--out", type=Path, required=True, help="The store to write.")
    add("--dataset", type=str | None, help="Known data set in SOURCE; see medstrata datasets.")
    add("--labels", type=Path | None, help="CSV or Parquet file with labels.")
    add("--size", type=int | None, help="Side in pixels; by default that of the images, to 256.")
    add("--channels", type=int | None, help="1 or 3; by default 1 when all images are grey.")
    add(
        "--fit",
        type=str,
        default="pad",
        help="pad, crop or stretch what is not square; keep patches at their size; fundus cuts out "
        "the lit circle.",
    )
    add(
        "--window",
        type=str,
        default="first",
        help="Of deep grey values: first (of the DICOM file, else percentiles), percentile, full, "
        "CENTER/WIDTH, the name of a window in the files, or a CT preset such as lung.",
    )
    add("--frames", type=str, default="middle", help="Of several in a file: middle, all, every:N.")
    add("--axis", type=str, default="axial", help="Slices of volumes: axial, coronal, sagittal.")
    add("--bits", type=int, default=8, help="8, or 16 to keep the depth of grey images.")
    add("--file_column", type=str | None, help="Column with file names; guessed if not named.")
    add("--patient_column", type=str | None, help="Column to split by; guessed if not named.")
    add("--site_column", type=str | None, help="Column with hospital or scanner; guessed.")
    add("--label_columns", type=list[str] | None, help="Label columns: '[a, b]'; else guessed.")
    add("--ordinal_columns", type=list[str], default=[], help="Label columns with an order.")
    add(
        "--split",
        type=str | None,
        help="Shares as 0.7/0.1/0.2 (the default), a column that holds train, val and test, or "
        "values of a column as fold:test=0,val=1, or a ready-made split of a known data set.",
    )
    add("--uncertain", type=str, default="unknown", help="Uncertain labels: unknown, negative...")
    add(
        "--preview",
        action="store_true",
        help="Take 256 images only, to look at preview.png before hours are spent.",
    )
    add("--seed", type=int, default=0, help="Decides the split.")
    add("--workers", type=int | None, help="Decoding threads; by default one a core.")
    add(
        "--max_quarantine",
        type=float,
        default=0.1,
        help="Share of unreadable images up to which the store is made.",
    )
    add("--overwrite", action="store_true", help="Delete a store in the way first.")
    add_allow_leakage(parser)


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.data.prepare.prepare import prepare

    prepare(**arguments.as_dict())
