"""Commands that run whole studies."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import make_parser, parse, usage_error
from medstrata.studies.paper import Modality, Preset, reproduction

if TYPE_CHECKING:
    from medstrata.studies.settings import StudySettings


def study_command(words: list[str]) -> None:
    """Run every arm, fraction and seed of a study."""
    parser = make_parser(
        "study",
        "STUDY.yaml --out DIR [options]",
        "Pre-train and fine-tune every arm on every data set, label fraction and seed, analyse the "
        "layers, and write the report. Finished cells are kept: the same command goes on.",
    )
    add = parser.add_argument
    add("file", type=Path, help="The study: data sets, arms, fractions, seeds, protocols.")
    add("--out", type=Path, required=True, help="Folder of the study.")
    add(
        "--data",
        type=Path | None,
        help="Folder that relative paths in the study start from; by default the study file's.",
    )
    _add_run_options(parser)
    parsed = parse(parser, "study", words)
    from medstrata.studies.settings import load_study

    settings = load_study(parsed.file)
    _run(settings, parsed, parsed.data or parsed.file.parent, "study")


def reproduce_command(words: list[str]) -> None:
    """Repeat the paper on one of its data sets."""
    parser = make_parser(
        "reproduce",
        "chest|histopathology|retina ROOT --out DIR [--preset paper|fair] [options]",
        "From the raw download of ChestX-ray14, IDC or EyePACS to the paper's exhibits. What is "
        "expected in ROOT: medstrata datasets nih-chestxray14, idc or eyepacs.",
    )
    add = parser.add_argument
    add("modality", type=Modality, help="Which of the paper's data sets.")
    add("root", type=Path, help="Folder of the download.")
    add("--out", type=Path, required=True, help="Folder of the study.")
    add("--preset", type=Preset, default="paper", help="As the authors ran it, or fair to all.")
    add("--backbone", type=str, default="resnet50", help="timm's name of the network.")
    add("--size", type=int | None, help="Pixels of stored images and input; else the paper's.")
    add("--epochs", type=int | None, help="Of pre-training.")
    add("--batch_size", type=int | None, help="Of pre-training.")
    add("--tuning_epochs", type=int | None, help="Of full fine-tuning.")
    add("--fractions", type=list[float] | None, help="Shares of the labels: '[0.01, 0.1, 1]'.")
    add("--seeds", type=int, default=3, help="Of fine-tuning.")
    add("--split", type=str | None, help="Ready-made split of the data set.")
    add("--imagenet", type=str | None, help="Add this arm: imagenet, or imagenet=FILE.")
    add("--print_study", action="store_true", help="Print the study file and run nothing.")
    _add_run_options(parser)
    parsed = parse(parser, "reproduce", words)
    written = reproduction(
        parsed.modality,
        str(parsed.root.resolve()),
        parsed.preset,
        backbone=parsed.backbone,
        size=parsed.size,
        epochs=parsed.epochs,
        batch_size=parsed.batch_size,
        tuning_epochs=parsed.tuning_epochs,
        fractions=parsed.fractions,
        seeds=parsed.seeds,
        split=parsed.split,
        imagenet=parsed.imagenet,
    )
    if parsed.print_study:
        sys.stdout.write(yaml.safe_dump(written, sort_keys=False))
        return
    from medstrata.studies.settings import as_study

    _run(as_study(written), parsed, Path(), "reproduce")


def _add_run_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("--jobs", type=int, default=1, help="Cells that run at a time, each on a GPU of its own.")
    add("--cluster", type=str | None, help="Run cells as jobs: slurm; local tries that here.")
    add(
        "--cluster_options",
        type=dict[str, Any],
        default={},
        help="Parameters of the jobs: '{slurm_partition: gpu, gpus_per_node: 1}'.",
    )
    add("--dry_run", action="store_true", help="List the cells, with time and disk; run nothing.")
    add("--redo", action="store_true", help="Make cells again whose settings have changed.")


def _run(settings: "StudySettings", parsed: Namespace, root: Path, command: str) -> None:
    if parsed.jobs < 1:
        usage_error(command, f"--jobs must be 1 or more, got {parsed.jobs}")
    if parsed.dry_run:
        from medstrata.studies.estimate import describe

        sys.stdout.write(describe(settings, parsed.out, root, parsed.jobs))
        return
    from medstrata.studies.study import run_study

    done = run_study(
        settings,
        parsed.out,
        root=root,
        jobs=parsed.jobs,
        cluster=parsed.cluster,
        cluster_options=parsed.cluster_options,
        redo=parsed.redo,
    )
    sys.stdout.write(f"{done.report}\n")
