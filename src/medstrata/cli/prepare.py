"""Decode a folder tree, or the files of a CSV or Parquet list, once into a store."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import IN_TWO_SPLITS, add_allow_leakage, with_settings
from medstrata.data.prepare.settings import PrepareSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("source", type=Path, help="Folder of images, or a CSV or Parquet list of them.")
    add("--out", type=Path, required=True, help="The store to write.")
    add(
        "--preview",
        action="store_true",
        help="Take 256 images only, to look at preview.png before hours are spent.",
    )
    add("--workers", type=int | None, help="Decoding threads; by default one a core.")
    add("--overwrite", action="store_true", help="Delete a store in the way first.")
    add_allow_leakage(parser, IN_TWO_SPLITS)
    parser.add_class_arguments(PrepareSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    options = with_settings(PrepareSettings, arguments)
    from medstrata.data.prepare.prepare import prepare

    prepare(**options)
