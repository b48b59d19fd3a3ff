"""Commands that look into trained encoders."""

from pathlib import Path

from medstrata.arguments import make_parser, parse


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
    add("--out", type=Path, required=True, help="Run folder to write.")
    add("--subsets", type=int, default=50, help="Random subsets behind means and nulls.")
    add("--subset_size", type=int, default=1000, help="Images a subset, at most half of them.")
    add("--max_images", type=int, default=10_000, help="Test images that are compared.")
    add("--seed", type=int, default=0, help="Decides images, subsets and mismatches.")
    add("--legacy", action="store_true", help="Also the figure with an absolute bandwidth of 0.8.")
    add("--resume", action="store_true", help="Leave a finished run, start an unfinished again.")
    add("--overwrite", action="store_true", help="Delete the run in the folder first.")
    parsed = parse(parser, "reuse", words)
    from medstrata.data.store import open_store
    from medstrata.reuse import reuse

    reuse(
        parsed.run,
        open_store(parsed.store),
        parsed.out,
        subsets=parsed.subsets,
        subset_size=parsed.subset_size,
        max_images=parsed.max_images,
        legacy=parsed.legacy,
        seed=parsed.seed,
        resume=parsed.resume,
        overwrite=parsed.overwrite,
    )
