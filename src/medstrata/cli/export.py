"""Write the encoder of a pre-training or fine-tuned run as another program loads it.

A model card stands beside it; it is loaded there, and the outputs are compared.
"""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import pick_settings
from medstrata.cli.commands import UsageError
from medstrata.exporting.settings import GRAPHS, TARGETS, CardStatements, ExportSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("run", type=Path, help="Finished pre-training run, or fully fine-tuned one.")
    add(
        "--to",
        type=str,
        required=True,
        help=f"What is to load it: {', '.join(TARGETS)}, or package.module:Target.",
    )
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
    add("--overwrite", action="store_true", help="Replace an earlier export at --out.")
    parser.add_class_arguments(CardStatements)


def run(arguments: Namespace) -> None:
    """What the command does."""
    if arguments.to not in TARGETS and ":" not in arguments.to:
        raise UsageError(f"--to must be {', '.join(TARGETS)}, or package.module:Target")
    graphs = arguments.to in GRAPHS or ":" in arguments.to
    if not graphs and (arguments.stages or arguments.with_preprocessing):
        raise UsageError(f"--stages and --with-preprocessing need --to {' or '.join(GRAPHS)}")
    from medstrata.exporting.export import export

    export(
        arguments.run,
        arguments.to,
        arguments.out,
        ExportSettings(
            stages=arguments.stages,
            with_preprocessing=arguments.with_preprocessing,
            head=not arguments.no_head,
        ),
        results=arguments.results,
        statements=pick_settings(CardStatements, arguments),
        overwrite=arguments.overwrite,
    )
