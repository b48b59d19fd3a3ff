"""Write the features of images by a trained encoder.

Files are prepared as for a store of the encoder's image size; those that cannot be read are listed
beside the features.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_source_arguments
from medstrata.cli.commands import UsageError
from medstrata.data.formats.read_settings import Axis, ReadSettings
from medstrata.data.prepare.settings import Fit
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
    add("--image_size", type=int, default=0, help="Pixels; 0: the run's, or the store's.")
    add("--fit", type=Fit, default="pad", help="As in prepare, for files.")
    add("--window", type=str, default="first", help="As in prepare, for files.")
    add("--frames", type=str, default="middle", help="As in prepare, for files.")
    add("--axis", type=Axis, default="axial", help="As in prepare, for files.")
    add("--seed", type=int, default=0, help="Decides scratch's weights.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = _settings(arguments)
    from medstrata.inference.embed import embed

    embed(
        arguments.encoder,
        arguments.source,
        arguments.out,
        settings,
        backbone=arguments.backbone,
    )


def _settings(arguments: Namespace) -> EmbedSettings:
    reading = {name: getattr(arguments, name) for name in ("window", "frames", "axis")}
    try:
        return EmbedSettings(
            stages=tuple(name.strip() for name in arguments.stage.split(",")),
            image_size=arguments.image_size,
            fit=arguments.fit,
            reading=ReadSettings(**reading),
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            strict=arguments.strict,
            workers=arguments.workers,
        )
    except ValueError as error:
        raise UsageError(str(error)) from error
