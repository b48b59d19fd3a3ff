"""Read a task out of every stage of a frozen encoder.

A linear layer, whose penalty is chosen on validation, and nearest neighbours read it; every test
image is scored once, with intervals over patients.
"""

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_evaluation_arguments, add_label_options, on_store
from medstrata.evaluation.settings import ProbeSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add_evaluation_arguments(parser)
    add_label_options(parser)
    parser.add_class_arguments(ProbeSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    options = on_store(ProbeSettings, arguments)
    from medstrata.evaluation.probe import probe

    probe(**options)
