"""Commands that measure the machine."""

from dataclasses import fields
from pathlib import Path

from medstrata.cli.arguments import make_parser, parse, usage_error
from medstrata.pretraining.recipes import RECIPES


def bench_command(words: list[str]) -> None:
    """Measure this machine."""
    parser = make_parser(
        "bench",
        "[--backbone resnet50] [--size 224] [--batch-size 32] [--store STORE] [options]",
        "Measure what this machine can do at most and what it does: training steps of plain MoCo "
        "and of the intermediate losses, the loader, and the hours of a run. About two minutes on "
        "two cores; no network.",
    )
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
    parsed = parse(parser, "bench", words)
    unknown = [name for name in parsed.recipes if name not in RECIPES]
    if unknown:
        usage_error("bench", f"no recipe {unknown[0]!r}; there are {', '.join(RECIPES)}")
    from medstrata.pretraining.bench import Case, bench

    try:
        case = Case(**{field.name: getattr(parsed, field.name) for field in fields(Case)})
    except ValueError as error:
        usage_error("bench", str(error))
    bench(case, parsed.out)
