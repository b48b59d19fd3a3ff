"""A small study in minutes: scratch and three arms of pre-training at 5 and 100 % of the labels.

Without --data on images of tissue that it makes up, which say nothing about medicine.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.commands import UsageError
from medstrata.runtime.console import put


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("medstrata-demo"), help="Folder for everything.")
    add("--data", type=Path | None, help="Folder of your own images.")
    add("--labels", type=Path | None, help="Labels of your images.")
    add("--task", type=str | None, help="Task; by default the first label column.")
    steps = "Steps of each pre-training; by default 90, on your own images 1000."
    add("--steps", type=int | None, help=steps)
    add("--seed", type=int, default=0, help="Seed of the made-up images.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    if (arguments.data is None) != (arguments.labels is None):
        raise UsageError("--data and --labels go together")
    if arguments.steps is not None and arguments.steps < 1:
        raise UsageError(f"--steps must be 1 or more, got {arguments.steps}")
    from medstrata.studies.demo import demo

    put(f"{demo(**arguments.as_dict())}\n")
