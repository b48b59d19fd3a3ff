"""List the known data sets, explain one, or check a copy of one.

Exit status 1 if something is missing or wrong.
"""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.commands import UsageError
from medstrata.runtime.console import put


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("words", type=str, nargs="*", help="NAME, or check NAME ROOT.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.data.datasets.check import check
    from medstrata.data.datasets.listing import description, listing, report
    from medstrata.data.datasets.registry import DATASETS, find_dataset

    match arguments.words:
        case []:
            put(listing(DATASETS.values()))
        case ["check", name, root]:
            dataset = find_dataset(name)
            findings = check(dataset, Path(root))
            put(report(dataset, findings))
            if any(finding.kind != "note" for finding in findings):
                sys.exit(1)
        case [name] if name != "check":
            put(description(find_dataset(name)))
        case _:
            raise UsageError("takes nothing, NAME, or check NAME ROOT")
