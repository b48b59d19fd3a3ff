"""Write probabilities and classes by a fine-tuned run.

The threshold is the one that its validation images chose; files are prepared as the run's own store
was. Research software, not a medical device: not for diagnosis or treatment.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import TRAINED_ON, add_allow_leakage, add_source_arguments


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("run", type=Path, help="Finished run of finetune.")
    add_source_arguments(parser)
    add_allow_leakage(parser, TRAINED_ON)
    parser.add_argument(
        "--out", type=str, required=True, help="CSV file, or - for lines on standard output."
    )


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.inference.predict import predict

    predict(**arguments.as_dict())
