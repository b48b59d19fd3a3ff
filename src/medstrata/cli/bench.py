"""Measure what this machine can do at most and what it does.

Training steps of plain MoCo and of the intermediate losses, the loader, and the hours of a run.
About two minutes on two cores; no network.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import pick_settings
from medstrata.cli.commands import UsageError
from medstrata.pretraining.recipes import RECIPES


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("--backbone", type=str, default="resnet50", help="timm name.")
    add("--size", type=int, default=224, help="Side of the views in pixels.")
    add("--batch_size", type=int, default=32, help="Images a step.")
    add(
        "--recipe",
        dest="recipes",
        type=str,
        nargs="+",
        default=["fair/moco", "fair/moco_mse", "fair/moco_bt"],
        help="Recipes to compare.",
    )
    add("--steps", type=int, default=5, help="Timed steps of each, fewer where they take long.")
    add("--store", type=str | None, help="Store to read; by default images are made on the spot.")
    add("--images", type=int | None, help="Images of the run to estimate.")
    add("--epochs", type=int | None, help="Its epochs; by default the recipe's.")
    add("--out", type=Path | None, help="JSON file to write.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    unknown = [name for name in arguments.recipes if name not in RECIPES]
    if unknown:
        raise UsageError(f"no recipe {unknown[0]!r}; there are {', '.join(RECIPES)}")
    from medstrata.pretraining.bench import Case, bench

    bench(pick_settings(Case, arguments), arguments.out)
