"""Commands that train encoders and show what they are worth."""

import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from medstrata.cli.arguments import (
    add_evaluation_arguments,
    add_run_options,
    add_tracker_option,
    evaluation_options,
    make_parser,
    parse,
    pick_settings,
    usage_error,
    word_after,
)
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.pretraining.recipes import RECIPES
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError

# What config.yaml and --print_config hold beside the settings.
_NOT_SETTINGS = {
    "store",
    "store_digest",
    "source",
    "config",
    "out",
    "resume",
    "overwrite",
    "track",
    "profile",
}


def pretrain_command(words: list[str]) -> None:
    """Pre-train an encoder."""
    parser = make_parser(
        "pretrain",
        "STORE|FOLDER --out RUN [--recipe NAME] [options]",
        "Pre-train an encoder without labels. A folder of images is prepared into a cache first.",
    )
    parser.add_argument("source", type=str, help="Store, its address, or folder of images.")
    add_run_options(parser)
    add_tracker_option(parser)
    parser.add_argument(
        "--profile",
        action="store_true",
        help="Watch some steps, and say at the end in words what limits the run (profile.json).",
    )
    parser.add_class_arguments(PretrainSettings)
    named = word_after(words, "--recipe")
    defaults = _recipe(named or _recipe_of_config(words), words)
    parser.set_defaults(defaults)
    parsed = parse(parser, "pretrain", words)
    settings = pick_settings(PretrainSettings, parsed, "pretrain")
    if named is not None:  # perhaps a file, whose own recipe is the one to be remembered
        settings = replace(settings, recipe=defaults["recipe"])
    from medstrata.data.prepare.cached import open_or_prepare
    from medstrata.pretraining.loop import pretrain

    pretrain(
        open_or_prepare(parsed.source),
        settings,
        parsed.out,
        resume=parsed.resume,
        overwrite=parsed.overwrite,
        trackers=parsed.track,
        profile=parsed.profile,
    )


def _recipe_of_config(words: list[str]) -> str | None:
    """The recipe that a --config file names, and so completes; the parser says what is wrong."""
    file = word_after(words, "--config")
    if file is None or not Path(file).is_file():
        return None
    from medstrata.runs.folder import read_config

    try:
        return read_config(Path(file)).get("recipe") or None
    except MedstrataError:
        return None


def _recipe(name: str | None, words: list[str]) -> dict[str, Any]:
    """Defaults from a recipe, a config.yaml, or on --resume from the run itself."""
    out = word_after(words, "--out")
    if name is None and "--resume" in words and out and (Path(out) / "config.yaml").is_file():
        name = str(Path(out) / "config.yaml")
    if name is None:
        name = "fair/moco_mse"
    if name in RECIPES:
        return asdict(RECIPES[name]())
    path = Path(name)
    if not path.is_file():
        usage_error("pretrain", f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    from medstrata.runs.folder import read_config

    settings = read_config(path)
    settings = {key: value for key, value in settings.items() if key not in _NOT_SETTINGS}
    unknown = settings.keys() - {field.name for field in fields(PretrainSettings)}
    if unknown:
        usage_error("pretrain", f"{path} has unknown settings {sorted(unknown)}")
    return settings


def finetune_command(words: list[str]) -> None:
    """Train on few labels and score."""
    parser = make_parser(
        "finetune",
        "RUN|FILE|scratch|imagenet|imagenet=FILE STORE --task T --fraction F --out RUN [options]",
        "Train a classifier on a fraction of the labels; score every test image once.",
    )
    add_evaluation_arguments(parser)
    parser.add_argument("--fraction", type=float, default=1.0, help="Share of the labels, 0 to 1.")
    add_run_options(parser)
    add_tracker_option(parser)
    parser.add_class_arguments(FinetuneSettings)
    parsed = parse(parser, "finetune", words)
    settings = pick_settings(FinetuneSettings, parsed, "finetune")
    from medstrata.data.store.open import open_store
    from medstrata.evaluation.finetune import finetune

    finetune(
        parsed.encoder,
        open_store(parsed.store),
        parsed.task,
        parsed.fraction,
        parsed.out,
        settings,
        **evaluation_options(parsed),
        trackers=parsed.track,
    )


def report_command(words: list[str]) -> None:
    """Write a report of run folders."""
    parser = make_parser(
        "report",
        "RUNS... --to report.html [--title TEXT] [--no_files]",
        "Write one self-contained page, and its tables and figures as files beside it.",
    )
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    parser.add_argument("--to", type=Path, default=Path("report.html"), help="File to write.")
    parser.add_argument("--title", type=str, default="Low-label evaluation", help="Heading.")
    parser.add_argument(
        "--no_files",
        action="store_true",
        help="The page alone, without the folder of tables (CSV, LaTeX) and figures (PDF, PNG).",
    )
    parsed = parse(parser, "report", words)
    from medstrata.report.page import write_report

    page = write_report(parsed.runs, parsed.to, parsed.title, files=not parsed.no_files)
    say(f"report in {page}")


def demo_command(words: list[str]) -> None:
    """Run the whole job in minutes."""
    parser = make_parser(
        "demo",
        "[--out FOLDER] [--data FOLDER --labels CSV] [options]",
        "Prepare, pre-train three arms, fine-tune at two label fractions, report. Without --data "
        "on made-up images: the numbers then say that the program runs, nothing about medicine.",
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("medstrata-demo"), help="Folder for everything.")
    add("--data", type=Path | None, help="Folder of your own images.")
    add("--labels", type=Path | None, help="Labels of your images.")
    add("--task", type=str | None, help="Task; by default the first label column.")
    add("--epochs", type=int | None, help="Pre-training epochs.")
    parsed = parse(parser, "demo", words)
    if (parsed.data is None) != (parsed.labels is None):
        usage_error("demo", "--data and --labels go together")
    from medstrata.studies.demo import demo

    report = demo(
        parsed.out, data=parsed.data, labels=parsed.labels, task=parsed.task, epochs=parsed.epochs
    )
    sys.stdout.write(f"{report}\n")


def recipes_command(words: list[str]) -> None:
    """List the pre-training recipes."""
    parser = make_parser("recipes", "", "List the pre-training recipes.")
    parse(parser, "recipes", words)
    for name, make in RECIPES.items():
        settings = make()
        sys.stdout.write(
            f"{name:<32} {settings.backbone}, batch {settings.batch_size}, "
            f"temperature {settings.contrastive.temperature}, "
            f"intermediate loss {settings.intermediate.loss}\n"
        )
