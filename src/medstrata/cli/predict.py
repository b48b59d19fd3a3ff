"""Write probabilities and classes by a fine-tuned run.

The threshold is the one that its validation images chose; files are prepared as the run's own store
was. Research software, not a medical device: not for diagnosis or treatment.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import (
    TRAINED_ON,
    add_allow_leakage,
    add_moved_encoder,
    add_source_arguments,
)
from medstrata.inference.settings import BATCH_SIZE


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("run", type=Path, help="Finished run of finetune.")
    add_source_arguments(parser)
    add("--batch_size", type=int, default=BATCH_SIZE, help="Images at a time.")
    add("--workers", type=int | None, help="Decoding threads; one a core.")
    add_allow_leakage(parser, TRAINED_ON)
    add_moved_encoder(parser)
    add("--out", type=str, required=True, help="CSV file, or - for lines on standard output.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.inference.predict import predict

    predict(**arguments.as_dict())
