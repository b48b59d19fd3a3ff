"""Look for copies, leakage across splits, odd labels and exposures, and shortcuts to the label.

Writes audit.json into the store.
"""

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import IN_TWO_SPLITS, add_allow_leakage


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("store", type=str, help="Store to audit, or its address.")
    add("--task", type=str | None, help="Task; by default every label column.")
    add(
        "--fractions",
        type=list[float],
        default=[0.01, 0.1, 1.0],
        help="Shares of the labels whose subsets are counted.",
    )
    add_allow_leakage(parser, IN_TWO_SPLITS)


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.data.audit.audit import audit
    from medstrata.data.store.open import open_store

    options = arguments.as_dict()
    audit(open_store(options.pop("store")), **options)
