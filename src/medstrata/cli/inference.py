"""Commands that use trained encoders and classifiers."""

from pathlib import Path

from jsonargparse import ArgumentParser

from medstrata.cli.arguments import make_parser, parse

_SOURCE = "Store or its address, folder of images, one image, or - for paths on standard input."


def embed_command(words: list[str]) -> None:
    """Write features of images."""
    parser = make_parser(
        "embed",
        "RUN|scratch|imagenet|imagenet=FILE SOURCE --out features.parquet|features.npz [options]",
        "Write the features of images by a trained encoder. Files are prepared as for a store of "
        "the encoder's image size; those that cannot be read are listed beside the features.",
    )
    add = parser.add_argument
    add("encoder", type=str, help="Run folder, scratch, imagenet, imagenet=FILE.")
    add("source", type=str, help=_SOURCE)
    add("--out", type=Path, required=True, help="File: .parquet or .npz.")
    add(
        "--stage",
        type=str,
        default="pooled",
        help="pooled, stage1 to stage4, several with commas, or all.",
    )
    add("--backbone", type=str | None, help="timm name, for scratch and imagenet.")
    add("--image_size", type=int, default=0, help="Pixels, for scratch and imagenet; 0: store's.")
    add("--fit", type=str, default="pad", help="As in prepare, for files.")
    add("--window", type=str, default="first", help="As in prepare, for files.")
    add("--frames", type=str, default="middle", help="As in prepare, for files.")
    add("--axis", type=str, default="axial", help="As in prepare, for files.")
    add("--seed", type=int, default=0, help="Decides scratch's weights.")
    _add_common(parser)
    parsed = parse(parser, "embed", words)
    from medstrata.data.formats.read_settings import ReadSettings
    from medstrata.inference.embed import embed
    from medstrata.inference.settings import EmbedSettings

    embed(
        parsed.encoder,
        parsed.source,
        parsed.out,
        EmbedSettings(
            stages=tuple(name.strip() for name in parsed.stage.split(",")),
            image_size=parsed.image_size,
            fit=parsed.fit,
            reading=ReadSettings(window=parsed.window, frames=parsed.frames, axis=parsed.axis),
            seed=parsed.seed,
            batch_size=parsed.batch_size,
            strict=parsed.strict,
            workers=parsed.workers,
        ),
        backbone=parsed.backbone,
    )


def predict_command(words: list[str]) -> None:
    """Write predictions for images."""
    parser = make_parser(
        "predict",
        "RUN SOURCE --out predictions.csv|- [options]",
        "Write probabilities and classes by a fine-tuned run, at the threshold that its validation "
        "images chose. Files are prepared as the run's own store was. Research software, not a "
        "medical device: not for diagnosis or treatment.",
    )
    add = parser.add_argument
    add("run", type=Path, help="Finished run of finetune.")
    add("source", type=str, help=_SOURCE)
    add("--out", type=str, required=True, help="CSV file, or - for lines on standard output.")
    _add_common(parser)
    parsed = parse(parser, "predict", words)
    from medstrata.inference.predict import predict

    predict(
        parsed.run,
        parsed.source,
        parsed.out,
        batch_size=parsed.batch_size,
        strict=parsed.strict,
        workers=parsed.workers,
    )


def _add_common(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--batch_size", type=int, default=256, help="Images at a time.")
    add("--strict", action="store_true", help="Exit status 1 if any image cannot be read.")
    add("--workers", type=int | None, help="Decoding threads; one a core.")
