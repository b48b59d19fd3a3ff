"""Arguments that several commands take."""

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.commands import UsageError
from medstrata.metrics.kinds import TaskKind
from medstrata.runs.tracker_names import Tracker

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Leaks that a user may allow.
IN_TWO_SPLITS = "the same patient or image is in two splits"
TRAINED_ON = "test patients were trained on with labels"

Settings = TypeVar("Settings", bound="DataclassInstance")


def add_run_options(parser: ArgumentParser) -> None:
    """Options of every command that writes a run folder."""
    add = parser.add_argument
    add("--config", action="config", help="YAML file with any of these options.")
    add("--out", type=Path, required=True, help="Run folder.")
    add("--resume", action="store_true", help="Go on with the run in the folder, if there is one.")
    add("--overwrite", action="store_true", help="Delete the run in the folder first.")


def add_tracker_option(parser: ArgumentParser) -> None:
    """Where the numbers of metrics.jsonl go as well."""
    parser.add_argument(
        "--track",
        type=Tracker | list[Tracker],
        nargs="+",
        default=[],
        help="Trackers to write to as well, named after the store; on this machine unless "
        "WANDB_MODE=online or MLFLOW_TRACKING_URI say otherwise.",
    )


def named_trackers(arguments: Namespace) -> list[Tracker]:
    """The trackers among the arguments, each word of which may be a list, as in a config."""
    found: list[Tracker] = []
    for word in arguments.track:
        found += word if isinstance(word, list) else [word]
    return found


def add_evaluation_arguments(parser: ArgumentParser) -> None:
    """Arguments of every command that evaluates an encoder on a task, into a run folder."""
    add_run_options(parser)
    add = parser.add_argument
    add("encoder", type=str, help="Run folder, weights file, scratch, imagenet, imagenet=FILE.")
    add("store", type=str, help="Store with labels and splits, or its address.")
    add(
        "--task",
        type=str,
        required=True,
        help="Label column, or 'column: a vs b+c', or several 0/1 columns 'a,b,c'.",
    )
    add("--kind", type=TaskKind | None, help="Of the labels, where the guess is wrong.")
    add("--backbone", type=str | None, help="timm name, for all but run folders.")
    add("--arm", type=str | None, help="Name of this arm in tables.")
    add(
        "--features",
        type=Path | None,
        help="Folder that keeps a frozen encoder's features for the next run.",
    )


def add_label_options(parser: ArgumentParser) -> None:
    """Options of the commands that train on labels."""
    parser.add_argument("--fraction", type=float, default=1.0, help="Share of the labels, 0 to 1.")
    add_allow_leakage(parser, TRAINED_ON)


def add_source_arguments(parser: ArgumentParser) -> None:
    """The images that a command passes through a network, and what becomes of unreadable ones."""
    add = parser.add_argument
    add(
        "source",
        type=str,
        help="Store or its address, folder of images, one image, or - for paths on standard input.",
    )
    add("--strict", action="store_true", help="Exit status 1 if any image cannot be read.")


def add_allow_leakage(parser: ArgumentParser, leak: str) -> None:
    """Whether a leak, in words after "where", is a failure."""
    parser.add_argument(
        "--allow_leakage",
        action="store_true",
        help=f"Go on where {leak}; exit status 1 otherwise.",
    )


def add_moved_encoder(parser: ArgumentParser) -> None:
    """Where the encoder of a run lies now."""
    parser.add_argument(
        "--encoder",
        type=str | None,
        help="Where the encoder that the run rests on lies now, if it was moved: RUN, FILE or "
        "imagenet=FILE.",
    )


def pick_settings(kind: type[Settings], arguments: Namespace, **others: Any) -> Settings:
    """The settings among the arguments.

    Args:
        kind: The settings dataclass; what the command does not offer keeps its default.
        arguments: Of the command.
        others: Settings that the command names otherwise.

    Raises:
        UsageError: a value is out of range.
    """
    offered = [field.name for field in fields(kind) if field.name in arguments]
    try:
        return kind(**{name: getattr(arguments, name) for name in offered}, **others)
    except ValueError as error:
        raise UsageError(str(error)) from error


def with_settings(kind: type[Settings], arguments: Namespace) -> dict[str, Any]:
    """The arguments by name, of which the settings are one: `settings`.

    Raises:
        UsageError: a value is out of range.
    """
    taken = {"config", *(field.name for field in fields(kind))}
    others = {name: value for name, value in vars(arguments).items() if name not in taken}
    return {**others, "settings": pick_settings(kind, arguments)}


def on_store(kind: type[Settings], arguments: Namespace) -> dict[str, Any]:
    """`with_settings`, and the store opened; wrong names end here, before a heavy import.

    Raises:
        MedstrataError: there is no such store, task or encoder, or the run folder is taken.
    """
    options = with_settings(kind, arguments)
    from medstrata.data.labels import make_task
    from medstrata.data.store.open import open_store
    from medstrata.runs.encoder_spec import EncoderSpec
    from medstrata.runs.folder import require_room

    require_room(options["out"], resume=options["resume"], overwrite=options["overwrite"])
    if options.get("encoder") is not None:
        EncoderSpec.parse(options["encoder"]).require_present()
    store = open_store(options["store"])
    if "task" in options:
        make_task(store, options["task"], options["kind"])
    return options | {"store": store}
