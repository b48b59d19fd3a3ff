"""Pre-train an encoder without labels.

A folder of images is prepared into a cache first. Without --recipe, --modality chest and
--modality histopathology take what was measured to be best for such images; --modality retina has
no measured views of its own. One of --epochs and --steps says how long. What stands as none is
chosen for the images, and said before the first step.
"""

from argparse import ArgumentParser as FirstParser
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import add_run_options, add_tracker_option, pick_settings
from medstrata.cli.commands import UsageError
from medstrata.data.view_settings import Modality
from medstrata.pretraining.recipes import RECIPES
from medstrata.pretraining.recipes import recipe as build_recipe
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.errors import MedstrataError

_DEFAULT_RECIPE = "recommended"
# Words that decide which settings are there to be changed, wherever they stand.
_DECISIVE = ("recipe", "modality", "epochs", "steps")
# What config.yaml of a run and --print_config hold beside the settings.
_NOT_SETTINGS = {
    *("store", "store_digest", "source", "config", "out"),
    *("resume", "overwrite", "track", "profile"),
}


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("source", type=str, help="Store, its address, or folder of images.")
    add_run_options(parser)
    add_tracker_option(parser)
    parser.add_argument(
        "--profile",
        action="store_true",
        help="Watch some steps, and say at the end in words what limits the run (profile.json).",
    )
    parser.add_class_arguments(PretrainSettings)


def defaults(words: Sequence[str]) -> dict[str, Any]:
    """The settings of the recipe that is named, or of the run that goes on.

    They are read before the parser is: to jsonargparse a recipe would be one more `--config`, whose
    values replace the options to the left of it, and a recipe must not, wherever it is written.
    """
    first = FirstParser(add_help=False, allow_abbrev=False)
    for option in ("config", "out", *_DECISIVE):
        first.add_argument(f"--{option}", nargs="?")
    first.add_argument("--resume", action="store_true")
    options, _ = first.parse_known_args(words)
    named = {**_decisive_in(options.config)}
    named |= {name: value for name in _DECISIVE if (value := getattr(options, name)) is not None}
    name = named.get("recipe")
    if not name and options.resume and options.out:
        config = Path(options.out) / "config.yaml"
        name = str(config) if config.is_file() else None
    values = asdict(_settings(name or _DEFAULT_RECIPE, named.get("modality")))
    if "epochs" in named or "steps" in named:
        values |= {"epochs": None, "steps": None}
    return values


def _decisive_in(file: str | None) -> dict[str, Any]:
    """What of a --config file completes it; the parser says what is wrong with it."""
    if file is None or not Path(file).is_file():
        return {}
    from medstrata.runs.folder import read_config

    try:
        config = read_config(Path(file))
    except MedstrataError:
        return {}
    return {name: config[name] for name in _DECISIVE if config.get(name) is not None}


def _settings(recipe: str, modality: str | None = None) -> PretrainSettings:
    """Of a recipe by name, or of a file: one's own, or config.yaml of a run."""
    if recipe in RECIPES:
        return _of_recipe(recipe, modality)
    if not Path(recipe).is_file():
        raise UsageError(f"no recipe {recipe!r}; there are {', '.join(RECIPES)}")
    from medstrata.runs.folder import read_config
    from medstrata.runtime.settings import parse_settings

    values = read_config(Path(recipe))
    try:
        settings = parse_settings(
            PretrainSettings, {key: values[key] for key in values if key not in _NOT_SETTINGS}
        )
    except ValueError as error:
        raise UsageError(f"{recipe}: {error}") from error
    if modality not in (None, settings.modality):
        raise UsageError(f"{recipe} has its own views; give --modality with a recipe's name")
    return settings


def _of_recipe(name: str, modality: str | None) -> PretrainSettings:
    """A recipe for a modality; what is no modality is left for the parser to refuse."""
    known = modality in get_args(Modality)
    try:
        return build_recipe(name, **({"modality": modality} if known else {}))
    except ValueError as error:
        raise UsageError(str(error)) from error


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = pick_settings(PretrainSettings, arguments)
    if settings.recipe not in RECIPES and Path(settings.recipe).is_file():
        # The recipe to remember is the one that the file rests on.
        settings = replace(settings, recipe=_settings(settings.recipe).recipe)
    from medstrata.data.prepare.cached import open_or_prepare
    from medstrata.pretraining.loop import pretrain
    from medstrata.runtime.memory import keep_freed_memory

    keep_freed_memory()
    pretrain(
        open_or_prepare(arguments.source),
        settings,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        trackers=arguments.track,
        profile=arguments.profile,
    )
