"""Write one self-contained page, and its tables and figures as files beside it."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.runtime.console import say


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    add("--to", type=Path, default=Path("report.html"), help="File to write.")
    add(
        "--baseline",
        action="append",
        default=[],
        metavar="ARM",
        help="Hold the other arms against this one as well as against scratch, imagenet and moco; "
        "may be given several times.",
    )
    add("--title", type=str, default="Low-label evaluation", help="Heading.")
    add(
        "--no_files",
        action="store_true",
        help="The page alone, without the folder of tables (CSV, LaTeX).",
    )
    add(
        "--figures",
        action="store_true",
        help="Write the figures into that folder as well (PDF, PNG), which takes longer than all "
        "else.",
    )
    add(
        "--no_images",
        action="store_true",
        help="Show no image of the data sets: no views, neighbours or wrong images.",
    )


def run(arguments: Namespace) -> None:
    """What the command does."""
    from medstrata.report.page import write_report

    files = not arguments.no_files
    page = write_report(
        arguments.runs,
        arguments.to,
        arguments.title,
        files=files,
        figures=arguments.figures,
        baselines=arguments.baseline,
        images=not arguments.no_images,
    )
    say(f"report in {page}")
