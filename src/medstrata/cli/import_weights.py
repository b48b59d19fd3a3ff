"""Read an encoder from a weights file of another program (docs/guide/weights.md lists the layouts).

Every tensor of the backbone must match; the folder that is written serves wherever a run is asked
for. Nothing in the file is executed.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import with_settings
from medstrata.models.settings import ImportSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("file", type=Path, help="Safetensors, or what torch.save wrote.")
    add("--backbone", type=str, required=True, help="timm name of the network.")
    add("--out", type=Path, required=True, help="Folder to write.")
    add("--overwrite", action="store_true", help="Delete an earlier import in the folder first.")
    parser.add_class_arguments(ImportSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    options = with_settings(ImportSettings, arguments)
    from medstrata.models.import_weights import import_weights

    import_weights(**options)
