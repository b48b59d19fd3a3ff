"""Commands on images and stores."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from medstrata.cli.arguments import make_parser, parse, usage_error


def prepare_command(words: list[str]) -> None:
    """Decode images into a store."""
    parser = make_parser(
        "prepare",
        "SOURCE --out STORE [--labels CSV] [options]",
        "Decode a folder tree, or the files of a CSV or Parquet list, once into a store.",
    )
    _add_prepare_options(parser)
    parsed = parse(parser, "prepare", words)
    from medstrata.data.prepare.prepare import prepare

    options = parsed.as_dict()
    prepare(options.pop("source"), options.pop("out"), **options)


def _add_prepare_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, help="Folder of images, or a CSV or Parquet list of them.")
    add("--out", type=Path, required=True, help="The store to write.")
    add("--dataset", type=str | None, help="Known data set in SOURCE; see medstrata datasets.")
    add("--labels", type=Path | None, help="CSV or Parquet file with labels.")
    add("--size", type=int | None, help="Side in pixels; by default that of the images, to 256.")
    add("--channels", type=int | None, help="1 or 3; by default 1 when all images are grey.")
    add(
        "--fit",
        type=str,
        default="pad",
        help="pad, crop or stretch what is not square; keep patches at their size; fundus cuts out "
        "the lit circle.",
    )
    add(
        "--window",
        type=str,
        default="first",
        help="Of deep grey values: first (of the DICOM file, else percentiles), percentile, full, "
        "CENTER/WIDTH, the name of a window in the files, or a CT preset such as lung.",
    )
    add("--frames", type=str, default="middle", help="Of several in a file: middle, all, every:N.")
    add("--axis", type=str, default="axial", help="Slices of volumes: axial, coronal, sagittal.")
    add("--bits", type=int, default=8, help="8, or 16 to keep the depth of grey images.")
    add("--file_column", type=str | None, help="Column with file names; guessed if not named.")
    add("--patient_column", type=str | None, help="Column to split by; guessed if not named.")
    add("--site_column", type=str | None, help="Column with hospital or scanner; guessed.")
    add("--label_columns", type=list[str] | None, help="Label columns: '[a, b]'; else guessed.")
    add("--ordinal_columns", type=list[str], default=[], help="Label columns with an order.")
    add(
        "--split",
        type=str | None,
        help="Shares as 0.7/0.1/0.2 (the default), a column that holds train, val and test, or "
        "values of a column as fold:test=0,val=1, or a ready-made split of a known data set.",
    )
    add("--uncertain", type=str, default="unknown", help="Uncertain labels: unknown, negative...")
    add(
        "--preview",
        action="store_true",
        help="Take 256 images only, to look at preview.png before hours are spent.",
    )
    add("--seed", type=int, default=0, help="Decides the split.")
    add("--workers", type=int | None, help="Decoding threads; by default one a core.")
    add(
        "--max_quarantine",
        type=float,
        default=0.1,
        help="Share of unreadable images up to which the store is made.",
    )
    add("--overwrite", action="store_true", help="Delete a store in the way first.")
    _add_allow_leakage(parser)


def _add_allow_leakage(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--allow_leakage",
        action="store_true",
        help="Go on where the same patient or image is in two splits; exit status 1 otherwise.",
    )


def audit_command(words: list[str]) -> None:
    """Audit a store."""
    parser = make_parser(
        "audit",
        "STORE [--allow-leakage] [--task T] [--fractions '[0.01, 0.1, 1]']",
        "Look for copies, leakage across splits, odd labels and exposures, and shortcuts to the "
        "label; writes audit.json into the store.",
    )
    parser.add_argument("store", type=Path, help="Store to audit.")
    parser.add_argument("--task", type=str | None, help="Task; by default every label column.")
    parser.add_argument(
        "--fractions",
        type=list[float],
        default=[0.01, 0.1, 1.0],
        help="Shares of the labels whose subsets are counted.",
    )
    _add_allow_leakage(parser)
    parsed = parse(parser, "audit", words)
    from medstrata.data.audit.audit import audit
    from medstrata.data.store.open import open_store

    audit(
        open_store(parsed.store),
        task=parsed.task,
        fractions=parsed.fractions,
        allow_leakage=parsed.allow_leakage,
    )


def push_command(words: list[str]) -> None:
    """Put a store into object storage."""
    parser = make_parser(
        "push",
        "STORE ADDRESS [--overwrite]",
        "Put a store into object storage, such as s3://bucket/cxr.store, to be opened from there. "
        "Interrupted, the same command goes on.",
    )
    parser.add_argument("store", type=str, help="Store.")
    parser.add_argument("address", type=str, help="Where to: s3://, gs://, az:// or file://.")
    parser.add_argument("--overwrite", action="store_true", help="Replace another store there.")
    parsed = parse(parser, "push", words)
    from medstrata.data.store.push import push

    push(parsed.store, parsed.address, overwrite=parsed.overwrite)


def datasets_command(words: list[str]) -> None:
    """List the known data sets, explain one, or check a copy of one."""
    parser = make_parser(
        "datasets",
        "[NAME | check NAME ROOT]",
        "List the known data sets, explain one, or check a copy of one: exit status 1 if something "
        "is missing or wrong.",
    )
    parser.add_argument("words", type=str, nargs="*", help="NAME, or check NAME ROOT.")
    chosen = parse(parser, "datasets", words).words
    from medstrata.data.datasets.check import check
    from medstrata.data.datasets.listing import description, listing, report
    from medstrata.data.datasets.registry import DATASETS, find_dataset

    match chosen:
        case []:
            sys.stdout.write(listing(DATASETS.values()))
        case ["check", name, root]:
            dataset = find_dataset(name)
            findings = check(dataset, Path(root))
            sys.stdout.write(report(dataset, findings))
            if any(finding.kind != "note" for finding in findings):
                sys.exit(1)
        case [name] if name != "check":
            sys.stdout.write(description(find_dataset(name)))
        case _:
            usage_error("datasets", "takes nothing, NAME, or check NAME ROOT")
