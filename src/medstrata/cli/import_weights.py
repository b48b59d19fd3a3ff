"""The command that brings in weights of other programs."""

from pathlib import Path

from medstrata.cli.arguments import make_parser, parse


def import_weights_command(words: list[str]) -> None:
    """Make an encoder of another program usable as a run."""
    parser = make_parser(
        "import-weights",
        "FILE --backbone NAME --out FOLDER [--encoder NAME] [--prefix P] [options]",
        "Read an encoder from a weights file of another program (docs/guide/weights.md lists the "
        "layouts), require every tensor of the backbone to match, and write a folder that serves "
        "wherever a run is asked for. Nothing in the file is executed.",
    )
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
    parsed = parse(parser, "import-weights", words)
    from medstrata.models.import_weights import import_weights

    options = parsed.as_dict()
    import_weights(options.pop("file"), options.pop("out"), **options)
