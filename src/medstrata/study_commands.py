"""Commands that run whole studies."""

import sys
from pathlib import Path
from typing import Any

from medstrata.arguments import make_parser, parse, usage_error


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
    parsed = parse(parser, "study", words)
    if parsed.jobs < 1:
        usage_error("study", f"--jobs must be 1 or more, got {parsed.jobs}")
    from medstrata.studies.settings import load_study

    settings = load_study(parsed.file)
    root = parsed.data or parsed.file.parent
    if parsed.dry_run:
        from medstrata.studies.estimate import describe

        sys.stdout.write(describe(settings, parsed.out, root, parsed.jobs))
        return
    from medstrata.studies.study import run_study

    report = run_study(
        settings,
        parsed.out,
        root=root,
        jobs=parsed.jobs,
        cluster=parsed.cluster,
        cluster_options=parsed.cluster_options,
        redo=parsed.redo,
    )
    sys.stdout.write(f"{report}\n")
