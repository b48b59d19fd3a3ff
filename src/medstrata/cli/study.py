"""Run every arm, label fraction and seed of a study on every data set, and write the report.

Pre-training and fine-tuning of both protocols, then the analyses of the layers. Finished cells are
kept: the same command goes on.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.commands import UsageError
from medstrata.runtime.console import put

if TYPE_CHECKING:
    from medstrata.studies.settings import StudySettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("file", type=Path, help="The study: data sets, arms, fractions, seeds, protocols.")
    add(
        "--data",
        type=Path | None,
        help="Folder that relative paths in the study start from; by default the study file's.",
    )
    add_study_options(parser)


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.studies.study_file import load_study

    root = arguments.data or arguments.file.parent
    run_or_describe(load_study(arguments.file), arguments, root)


def add_study_options(parser: ArgumentParser) -> None:
    """Options of every command that runs a study."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="Folder of the study.")
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


def run_or_describe(settings: "StudySettings", arguments: Namespace, root: Path) -> None:
    """Run a study, or say what it would take, as the options of `add_study_options` ask."""
    if arguments.jobs < 1:
        raise UsageError(f"--jobs must be 1 or more, got {arguments.jobs}")
    if arguments.dry_run:
        from medstrata.studies.estimate import describe

        put(describe(settings, arguments.out, root, arguments.jobs))
        return
    from medstrata.studies.study import run_study

    done = run_study(
        settings,
        arguments.out,
        root=root,
        jobs=arguments.jobs,
        cluster=arguments.cluster,
        cluster_options=arguments.cluster_options,
        redo=arguments.redo,
    )
    put(f"{done.report}\n")
