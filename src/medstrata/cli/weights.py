"""Commands that hand encoders to other programs."""

from pathlib import Path

from medstrata.cli.arguments import make_parser, parse, usage_error
from medstrata.exporting.names import GRAPHS, TargetName


def export_command(words: list[str]) -> None:
    """Write an encoder for another program."""
    parser = make_parser(
        "export",
        "RUN --to timm|torchvision|huggingface|monai|onnx|torch-export --out FOLDER [options]",
        "Write the encoder of a pre-training or fine-tuned run as another program loads it, with "
        "a model card; load it there and compare the outputs.",
    )
    add = parser.add_argument
    add("run", type=Path, help="Finished pre-training run, or fully fine-tuned one.")
    add("--to", type=TargetName, required=True, help="What is to load it.")
    add("--out", type=Path, required=True, help="Folder to write.")
    add("--stages", action="store_true", help="onnx, torch-export: stage maps as outputs too.")
    add(
        "--with_preprocessing",
        action="store_true",
        help="onnx, torch-export: take uint8 pixels (B, H, W, C) and normalise them inside.",
    )
    add("--no_head", action="store_true", help="Of a fine-tuned run the backbone alone.")
    add(
        "--results",
        type=Path,
        nargs="+",
        default=[],
        help="Fine-tuning and probe runs of this encoder, whose scores the model card shows.",
    )
    add("--licence", type=str | None, help="Licence of the weights, such as apache-2.0.")
    add("--data_licence", type=str | None, help="Licence of the images.")
    add("--author", type=str | None, help="Who made the weights.")
    add("--modality", type=str | None, help="What the images are, such as 'frontal chest X-ray'.")
    add("--overwrite", action="store_true", help="Replace an earlier export at --out.")
    parsed = parse(parser, "export", words)
    if parsed.to not in GRAPHS and (parsed.stages or parsed.with_preprocessing):
        usage_error("export", f"--stages and --with-preprocessing need --to {' or '.join(GRAPHS)}")
    from medstrata.exporting.card import Statements
    from medstrata.exporting.export import export

    export(
        parsed.run,
        parsed.to,
        parsed.out,
        stages=parsed.stages,
        with_preprocessing=parsed.with_preprocessing,
        head=not parsed.no_head,
        results=parsed.results,
        statements=Statements(
            licence=parsed.licence,
            data_licence=parsed.data_licence,
            author=parsed.author,
            modality=parsed.modality,
        ),
        overwrite=parsed.overwrite,
    )
