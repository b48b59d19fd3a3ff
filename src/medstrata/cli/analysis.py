"""Commands that look into trained encoders."""

from pathlib import Path

from medstrata.cli.arguments import (
    add_evaluation_arguments,
    add_run_options,
    evaluation_options,
    make_parser,
    parse,
    pick_settings,
)
from medstrata.evaluation.settings import AtlasSettings, ProbeSettings, ReuseSettings

_ENCODER_USAGE = "RUN|FILE|scratch|imagenet|imagenet=FILE STORE --task T"


def probe_command(words: list[str]) -> None:
    """Read a task out of every stage."""
    parser = make_parser(
        "probe",
        f"{_ENCODER_USAGE} --out RUN [--fraction F] [options]",
        "Read a task out of every stage of a frozen encoder, by a linear layer whose penalty is "
        "chosen on validation and by nearest neighbours; score every test image once, with "
        "intervals over patients.",
    )
    add_evaluation_arguments(parser)
    parser.add_argument("--fraction", type=float, default=1.0, help="Share of the labels, 0 to 1.")
    add_run_options(parser)
    parser.add_class_arguments(ProbeSettings)
    parsed = parse(parser, "probe", words)
    settings = pick_settings(ProbeSettings, parsed, "probe")
    from medstrata.data.store.open import open_store
    from medstrata.evaluation.probe import probe

    probe(
        parsed.encoder,
        open_store(parsed.store),
        parsed.task,
        parsed.out,
        fraction=parsed.fraction,
        settings=settings,
        **evaluation_options(parsed),
    )


def atlas_command(words: list[str]) -> None:
    """Show what the features of the test images look like."""
    parser = make_parser(
        "atlas",
        f"{_ENCODER_USAGE} --out RUN [options]",
        "Look at a frozen encoder's features of the test images: how many directions they use at "
        "each stage, which images are near which (neighbours.png), and a map of them all "
        "(map.parquet). Nothing is trained.",
    )
    add_evaluation_arguments(parser)
    add_run_options(parser)
    parser.add_class_arguments(AtlasSettings)
    parsed = parse(parser, "atlas", words)
    settings = pick_settings(AtlasSettings, parsed, "atlas")
    from medstrata.data.store.open import open_store
    from medstrata.evaluation.atlas import atlas

    atlas(
        parsed.encoder,
        open_store(parsed.store),
        parsed.task,
        parsed.out,
        settings,
        **evaluation_options(parsed),
    )


def reuse_command(words: list[str]) -> None:
    """Compare an encoder before and after fine-tuning."""
    parser = make_parser(
        "reuse",
        "RUN STORE --out DIR [options]",
        "Similarity (CKA) of each stage before and after fine-tuning, on the test images.",
    )
    add = parser.add_argument
    add("run", type=Path, help="Run folder of a full fine-tuning.")
    add("store", type=str, help="The store it was tuned on, or its address.")
    add_run_options(parser)
    parser.add_class_arguments(ReuseSettings, skip={"legacy"})
    add("--legacy", action="store_true", help="Also the figure with an absolute bandwidth of 0.8.")
    parsed = parse(parser, "reuse", words)
    settings = pick_settings(ReuseSettings, parsed, "reuse")
    from medstrata.data.store.open import open_store
    from medstrata.evaluation.reuse import reuse

    reuse(
        parsed.run,
        open_store(parsed.store),
        parsed.out,
        settings,
        resume=parsed.resume,
        overwrite=parsed.overwrite,
    )
