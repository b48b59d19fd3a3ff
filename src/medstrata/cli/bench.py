"""Measure what this machine can do at most and what it does.

Training steps of plain MoCo and of the intermediate losses, the loader, and the hours of a run.
About two minutes on two cores; no network.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import pick_settings
from medstrata.pretraining.bench_settings import BenchSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_class_arguments(BenchSettings, skip={"recipes"})
    parser.add_argument(
        "--recipe",
        dest="recipes",
        type=str,
        nargs="+",
        default=list(BenchSettings.recipes),
        help="Recipes to compare; they take turns.",
    )
    parser.add_argument("--out", type=Path | None, help="JSON file to write.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = pick_settings(BenchSettings, arguments)
    from medstrata.pretraining.bench import bench
    from medstrata.runtime.memory import keep_freed_memory

    keep_freed_memory()
    bench(settings, arguments.out)
