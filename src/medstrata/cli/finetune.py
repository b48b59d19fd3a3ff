"""Train a classifier on a fraction of the labels; score every test image once."""

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import (
    add_evaluation_arguments,
    add_label_options,
    add_tracker_option,
    named_trackers,
    on_store,
)
from medstrata.evaluation.settings import FinetuneSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add_evaluation_arguments(parser)
    add_label_options(parser)
    add_tracker_option(parser)
    parser.add_class_arguments(FinetuneSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    options = on_store(FinetuneSettings, arguments) | {"trackers": named_trackers(arguments)}
    del options["track"]
    from medstrata.evaluation.finetune import finetune
    from medstrata.runtime.memory import keep_freed_memory

    keep_freed_memory()
    finetune(**options)
