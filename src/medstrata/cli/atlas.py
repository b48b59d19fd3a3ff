"""Look at a frozen encoder's features of the test images.

It shows how many directions they use at each stage, which images are near which (neighbours.png),
and a map of them all (map.parquet). Nothing is trained.
"""

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_evaluation_arguments, evaluation_arguments, pick_settings
from medstrata.evaluation.settings import AtlasSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add_evaluation_arguments(parser)
    parser.add_class_arguments(AtlasSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = pick_settings(AtlasSettings, arguments)
    from medstrata.evaluation.atlas import atlas

    atlas(**evaluation_arguments(arguments), settings=settings)
