"""Write the features of images by a trained encoder.

Files are prepared as for a store of the encoder's image size; those that cannot be read are listed
beside the features.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_source_arguments, pick_settings
from medstrata.data.formats.read_settings import ReadSettings
from medstrata.inference.settings import EmbedSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("encoder", type=str, help="Run folder, scratch, imagenet, imagenet=FILE.")
    add_source_arguments(parser)
    add("--out", type=Path, required=True, help="File: .parquet or .npz.")
    add(
        "--stage",
        type=str,
        default="pooled",
        help="pooled, stage1 to stage4, several with commas, or all.",
    )
    add("--backbone", type=str | None, help="timm name, for scratch and imagenet.")
    parser.add_class_arguments(EmbedSettings, skip={"stages", "reading", "strict"})
    parser.add_class_arguments(ReadSettings, skip={"bits"})


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = pick_settings(
        EmbedSettings,
        arguments,
        stages=tuple(name.strip() for name in arguments.stage.split(",")),
        reading=pick_settings(ReadSettings, arguments),
    )
    from medstrata.inference.embed import embed

    embed(
        arguments.encoder,
        arguments.source,
        arguments.out,
        settings,
        backbone=arguments.backbone,
    )
