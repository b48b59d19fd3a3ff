"""Pre-train an encoder without labels.

A folder of images is prepared into a cache first. Without --recipe, --modality chest and
--modality histopathology take what was measured to be best for such images; --modality retina has
no measured views of its own. One of --epochs and --steps says how long. What stands as none is
chosen for the images, and said before the first step.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import (
    add_run_options,
    add_tracker_option,
    named_trackers,
    pick_settings,
)
from medstrata.cli.commands import UsageError
from medstrata.pretraining.recipes import RECIPES, settings_from
from medstrata.pretraining.settings import PretrainSettings

_DEFAULT_RECIPE = "recommended"


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


def defaults(parser: ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """The settings of the recipe that is named, or of the run that goes on.

    The words are read twice, here for what is named in them: to jsonargparse a recipe would be one
    more `--config`, whose values replace the options to the left of it, and a recipe must not,
    wherever it is written. Groups are left to the second reading, which can change one key of a
    mapping, as `--intermediate.weights.stage1` does.
    """
    # To show help or settings neither images nor a folder need be named.
    named = parser.parse_args(
        [word for word in words if not word.startswith(("-h", "--help", "--print_config"))],
        Namespace(source="", out=Path()),  # type: ignore[no-untyped-call]
        defaults=False,
    )
    before = named.out / "config.yaml"
    source = _DEFAULT_RECIPE
    if named.get("resume") and named.out.name and before.is_file():
        source = str(before)
    changes = {
        field.name: named[field.name]
        for field in fields(PretrainSettings)
        if field.name in named and not isinstance(named[field.name], Namespace)
    }
    return asdict(_settings(changes.pop("recipe", "") or source, changes))


def _settings(source: str, changes: Mapping[str, Any]) -> PretrainSettings:
    """As of the library, what is wrong with them as wrong usage."""
    try:
        return settings_from(source, changes)
    except ValueError as error:
        raise UsageError(str(error)) from error


def run(arguments: Namespace) -> None:
    """What the command does."""
    settings = pick_settings(PretrainSettings, arguments)
    if settings.recipe not in RECIPES and Path(settings.recipe).is_file():
        # The recipe to remember is the one that the file rests on.
        settings = replace(settings, recipe=_settings(settings.recipe, {}).recipe)
    from medstrata.data.prepare.cached import open_or_prepare
    from medstrata.runs.folder import require_room

    require_room(arguments.out, resume=arguments.resume, overwrite=arguments.overwrite)
    store = open_or_prepare(arguments.source)
    from medstrata.pretraining.loop import pretrain
    from medstrata.runtime.memory import keep_freed_memory

    keep_freed_memory()
    pretrain(
        store,
        settings,
        arguments.out,
        resume=arguments.resume,
        overwrite=arguments.overwrite,
        trackers=named_trackers(arguments),
        profile=arguments.profile,
    )
