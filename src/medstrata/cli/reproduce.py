"""Repeat the paper on one of its data sets.

From the raw download of ChestX-ray14, IDC or EyePACS to the paper's exhibits. What is expected in
ROOT: medstrata datasets nih-chestxray14, idc or eyepacs.
"""

from pathlib import Path

import yaml
from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import pick_settings
from medstrata.cli.study import add_study_options, require_jobs, run_or_describe
from medstrata.data.view_settings import Modality
from medstrata.runtime.console import put
from medstrata.studies.paper import Preset, ReproductionSettings, reproduction


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("modality", type=Modality, help="Which of the paper's data sets.")
    add("root", type=Path, help="Folder of the download.")
    add("--preset", type=Preset, default="paper", help="As the authors ran it, or fair to all.")
    parser.add_class_arguments(ReproductionSettings)
    add("--print_study", action="store_true", help="Print the study file and run nothing.")
    add_study_options(parser)


def run(arguments: Namespace) -> None:
    """What the command does."""
    require_jobs(arguments)
    settings = pick_settings(ReproductionSettings, arguments)
    root = str(arguments.root.resolve())
    written = reproduction(arguments.modality, root, arguments.preset, settings)
    if arguments.print_study:
        put(yaml.safe_dump(written, sort_keys=False))
        return
    from medstrata.studies.study_file import as_study

    run_or_describe(as_study(written), arguments, Path())
