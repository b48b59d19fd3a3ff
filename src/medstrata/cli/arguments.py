"""Arguments of the command line: parsing them, and what a usage error looks like."""

import json
import sys
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, NoReturn, TypeVar

from jsonargparse import ArgumentParser, Namespace

from medstrata.evaluation.settings import (
    AtlasSettings,
    FinetuneSettings,
    ProbeSettings,
    ReuseSettings,
)
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runtime.console import say

Settings = TypeVar(
    "Settings", PretrainSettings, FinetuneSettings, ProbeSettings, AtlasSettings, ReuseSettings
)

DESCRIBE = "--describe_arguments"

# Of the options added below, those that every function that evaluates an encoder takes by name.
_EVALUATION_OPTIONS = ("kind", "backbone", "arm", "features", "resume", "overwrite")


def underscored(word: str) -> str:
    """`--batch-size=8` means `--batch_size=8`; values keep their hyphens."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def usage_error(command: str, message: str) -> NoReturn:
    """Say what is wrong with the command, and leave with status 2."""
    name = f"medstrata {command}".strip()
    say(f"{name}: {' '.join(message.split())} (see {name} --help)")
    sys.exit(2)


def make_parser(command: str, usage: str, description: str) -> ArgumentParser:
    """The parser of a command, still without arguments."""
    return ArgumentParser(
        prog=f"medstrata {command}",
        usage=f"medstrata {command} {usage}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
    )


def add_run_options(parser: ArgumentParser) -> None:
    """Options of every command that writes a run folder."""
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    parser.add_argument("--out", type=Path, required=True, help="Run folder.")
    parser.add_argument(
        "--resume", action="store_true", help="Go on with the run in the folder, if there is one."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Delete the run in the folder first."
    )


def add_tracker_option(parser: ArgumentParser) -> None:
    """Where the numbers of metrics.jsonl go as well."""
    parser.add_argument(
        "--track",
        type=Literal["tensorboard", "wandb", "mlflow"],
        nargs="+",
        default=[],
        help="Trackers to write to as well; on this machine unless WANDB_MODE=online or "
        "MLFLOW_TRACKING_URI say otherwise.",
    )


def add_evaluation_arguments(parser: ArgumentParser) -> None:
    """Arguments of every command that evaluates an encoder on a task."""
    add = parser.add_argument
    add("encoder", type=str, help="Run folder, weights file, scratch, imagenet, imagenet=FILE.")
    add("store", type=str, help="Store with labels and splits, or its address.")
    add(
        "--task",
        type=str,
        required=True,
        help="Label column, or 'column: a vs b+c', or several 0/1 columns 'a,b,c'.",
    )
    add("--kind", type=str | None, help="binary, multiclass, multilabel, ordinal.")
    add("--backbone", type=str | None, help="timm name, for all but run folders.")
    add("--arm", type=str | None, help="Name of this arm in tables.")
    add(
        "--features",
        type=Path | None,
        help="Folder that keeps a frozen encoder's features for the next run.",
    )


def parse(parser: ArgumentParser, command: str, words: list[str]) -> Namespace:
    """Parse the words after a command; leaves with status 2 where they are wrong.

    The one word `DESCRIBE` prints what the parser takes, for the completion of shells.
    """
    if words == [DESCRIBE]:
        sys.stdout.write(json.dumps(_described(parser)))
        sys.exit(0)
    try:
        parsed: Namespace = parser.instantiate(parser.parse_args(words))
    except (ArgumentError, ValueError, TypeError) as error:
        usage_error(command, str(error))
    return parsed


def _described(parser: ArgumentParser) -> list[dict[str, Any]]:
    """Each argument: its option names (none where it goes by place), and what values it takes."""
    described = []
    for action in parser._actions:  # noqa: SLF001  (argparse offers no public list)
        metavar = action.metavar if isinstance(action.metavar, str) else ""
        listed = metavar[1:-1].split(",") if metavar.startswith("{") else []
        described.append(
            {
                "options": [
                    name
                    for name in action.option_strings
                    if name.startswith("--") and not name.endswith("+")  # jsonargparse's append
                ],
                "takes_value": action.nargs != 0 and action.dest != "print_config",
                "choices": listed or [str(choice) for choice in action.choices or ()],
                "help": (action.help or "").partition(".")[0],
            }
        )
    return described


def pick_settings(kind: type[Settings], parsed: Namespace, command: str) -> Settings:
    """The settings among what was parsed; leaves with status 2 where a value is out of range."""
    try:
        return kind(**{field.name: getattr(parsed, field.name) for field in fields(kind)})
    except ValueError as error:
        usage_error(command, str(error))


def evaluation_options(parsed: Namespace) -> dict[str, Any]:
    """What was parsed of the options that `finetune`, `probe` and `atlas` share, by name."""
    return {name: getattr(parsed, name) for name in _EVALUATION_OPTIONS}


def word_after(words: Sequence[str], option: str) -> str | None:
    """The value of an option, before anything is parsed; None where it is not given."""
    for index, word in enumerate(words):
        if word == option and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
