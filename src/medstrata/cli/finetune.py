"""Train a classifier on a fraction of the labels; score every test image once."""

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import (
    add_evaluation_arguments,
    add_fraction_option,
    add_tracker_option,
    evaluation_arguments,
    pick_settings,
)
from medstrata.evaluation.settings import FinetuneSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add_evaluation_arguments(parser)
    add_fraction_option(parser)
    add_tracker_option(parser)
    parser.add_class_arguments(FinetuneSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = pick_settings(FinetuneSettings, arguments)
    from medstrata.evaluation.finetune import finetune
    from medstrata.runtime.memory import keep_freed_memory

    keep_freed_memory()
    finetune(
        **evaluation_arguments(arguments),
        fraction=arguments.fraction,
        settings=settings,
        trackers=arguments.track,
    )
