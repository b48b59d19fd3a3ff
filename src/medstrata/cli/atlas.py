"""Look at a frozen encoder's features of the test images.

It shows how many directions they use at each stage, which images are near which (neighbours.png),
and a map of them all (map.parquet). Nothing is trained.
"""

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_evaluation_arguments, on_store
from medstrata.evaluation.settings import AtlasSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add_evaluation_arguments(parser)
    parser.add_class_arguments(AtlasSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    options = on_store(AtlasSettings, arguments)
    from medstrata.evaluation.atlas import atlas

    atlas(**options)
