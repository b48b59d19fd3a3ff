"""Read an encoder from a weights file of another program (docs/guide/weights.md lists the layouts).

Every tensor of the backbone must match; the folder that is written serves wherever a run is asked
for. Nothing in the file is executed.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("file", type=Path, help="Safetensors, or what torch.save wrote.")
    add("--backbone", type=str, required=True, help="timm name of the network.")
    add("--out", type=Path, required=True, help="Folder to write.")
    add("--prefix", type=str | None, help="What the names begin with; by default recognised.")
    add("--encoder", type=str | None, help="Which of several: key, teacher, student, momentum...")
    add("--in_channels", type=int | None, help="1 or 3; by default the file's.")
    add("--image_size", type=int | None, help="Pixels; by default the file's or timm's.")
    add("--mean", type=list[float] | None, help="Of values in 0..1: '[0.5]', or one a channel.")
    add("--std", type=list[float] | None, help="Likewise; by default config.json's, or usual ones.")
    add("--arm", type=str | None, help="Name in tables; by default the file's.")
    add("--overwrite", action="store_true", help="Delete an earlier import in the folder first.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.models.import_weights import import_weights

    import_weights(**arguments.as_dict())
