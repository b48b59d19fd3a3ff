"""Compare encoders with few labels: run every arm, label fraction and seed, and write the report.

From a folder of images and a table of labels, or a store: images are prepared and audited, this
machine is measured for some seconds, and the largest study is chosen that fits --budget; --plan
prints it as a file, to be edited. From a study file: just what it says. Finished cells are kept:
the same command goes on.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import IN_TWO_SPLITS, add_allow_leakage, pick_settings
from medstrata.cli.commands import UsageError
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.view_settings import Modality
from medstrata.runtime.console import put
from medstrata.runtime.errors import MedstrataError
from medstrata.studies.request import Request

if TYPE_CHECKING:
    from medstrata.studies.settings import StudySettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("source", type=str, help="Folder of images, store or its address, or study file.")
    own = parser.add_argument_group("Of a folder of images, or a store")
    add_own = own.add_argument
    add_own("--budget", type=str, default="1h", help="Time it may take: 10m, 2h, 1h30m.")
    add_own("--plan", action="store_true", help="Print the study file; run nothing.")
    add_own("--task", type=str | None, help="Task; by default the first label column.")
    add_own("--modality", type=Modality | None, help="What the images show.")
    add_own(
        "--weights",
        type=str | None,
        help="An encoder to compare with and to go on from: imagenet, imagenet=FILE, run, file.",
    )
    add_own("--backbone", type=str | None, help="timm name; by default one that fits the budget.")
    add_allow_leakage(parser, IN_TWO_SPLITS)
    add(
        "--data",
        type=Path | None,
        help="Folder that relative paths in a study file start from; by default the file's.",
    )
    add_study_options(parser)
    parser.add_class_arguments(PrepareSettings)


def run(arguments: Namespace) -> None:
    """What the command does."""
    require_jobs(arguments)
    if is_study_file(arguments.source):
        from medstrata.studies.study_file import load_study

        file = Path(arguments.source)
        run_or_describe(load_study(file), arguments, arguments.data or file.parent)
        return
    budget = _seconds(arguments.budget)
    _require_source(arguments.source)
    request = Request(
        source=arguments.source,
        prepare=pick_settings(PrepareSettings, arguments),
        task=arguments.task,
        modality=arguments.modality,
        weights=arguments.weights,
        backbone=arguments.backbone,
        budget=budget,
        allow_leakage=arguments.allow_leakage,
    )
    from medstrata.studies.proposal import propose

    chosen = propose(request, arguments.out, arguments.jobs)
    if arguments.plan:
        put(chosen.file.read_text(encoding="utf-8"))
        return
    arguments.jobs = chosen.jobs
    run_or_describe(chosen.settings, arguments, Path())


def _require_source(source: str) -> None:
    from medstrata.data.store.open import is_address

    if not is_address(source) and not Path(source).exists():
        raise MedstrataError(f"{source} does not exist; give images, a store or a study file")


def is_study_file(source: str) -> bool:
    """Whether a study is written in a file of its own, by its name."""
    return Path(source).suffix.lower() in (".yaml", ".yml")


def _seconds(budget: str) -> float:
    """Of a time such as 2h, 90m or 1h30m.

    Raises:
        UsageError: it is none.
    """
    units = {"d": 86_400, "h": 3600, "m": 60, "min": 60, "s": 1}
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(d|h|min|m|s)\s*", budget)
    if not parts or "".join(budget.split()) != "".join(number + unit for number, unit in parts):
        raise UsageError(f"--budget {budget!r} is no time such as 10m, 2h or 1h30m")
    seconds = sum(float(number) * units[unit] for number, unit in parts)
    if seconds <= 0:
        raise UsageError("--budget must be more than nothing")
    return seconds


def require_jobs(arguments: Namespace) -> None:
    """Refuse to run no cell at a time.

    Raises:
        UsageError: fewer than one is asked for.
    """
    if arguments.jobs is not None and arguments.jobs < 1:
        raise UsageError(f"--jobs must be 1 or more, got {arguments.jobs}")


def add_study_options(parser: ArgumentParser) -> None:
    """Options of every command that runs a study."""
    add = parser.add_argument
    add("--out", type=Path, required=True, help="Folder of the study.")
    add(
        "--jobs",
        type=int | None,
        help="Cells that run at a time, each on a GPU of its own; by default 1 of a study file, of "
        "a folder one a GPU, or without any one a core, up to 4.",
    )
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
    jobs = arguments.jobs or 1
    if arguments.dry_run:
        from medstrata.studies.estimate import estimate

        put(estimate(settings, arguments.out, root, jobs).lines())
        return
    from medstrata.studies.study import run_study

    done = run_study(
        settings,
        arguments.out,
        root=root,
        jobs=jobs,
        cluster=arguments.cluster,
        cluster_options=arguments.cluster_options,
        redo=arguments.redo,
    )
    put(f"{done.report}\n")
