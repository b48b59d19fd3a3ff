"""Prepare, pre-train three arms, fine-tune at two label fractions, report.

Without --data on made-up images: the numbers then say that the program runs, nothing about
medicine.
"""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.commands import UsageError


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("--out", type=Path, default=Path("medstrata-demo"), help="Folder for everything.")
    add("--data", type=Path | None, help="Folder of your own images.")
    add("--labels", type=Path | None, help="Labels of your images.")
    add("--task", type=str | None, help="Task; by default the first label column.")
    add("--epochs", type=int | None, help="Pre-training epochs.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    if (arguments.data is None) != (arguments.labels is None):
        raise UsageError("--data and --labels go together")
    from medstrata.studies.demo import demo

    sys.stdout.write(f"{demo(**arguments.as_dict())}\n")
