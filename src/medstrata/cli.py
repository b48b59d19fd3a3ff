"""The command line: parse, call one library function, print. Exit status 0, 1 failed, 2 usage.

Only the parser of the command in hand is built, and the library is imported once the arguments
have been understood, so that help and usage errors are quick.
"""

import sys
from argparse import ArgumentError
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from jsonargparse import ArgumentParser, Namespace

from medstrata.console import say
from medstrata.errors import MedstrataError
from medstrata.recipes import RECIPES
from medstrata.settings import FinetuneSettings, PretrainSettings

Settings = TypeVar("Settings", PretrainSettings, FinetuneSettings)

_HELP = """usage: medstrata COMMAND [options]     (medstrata COMMAND --help explains each)

Pre-train an encoder of medical images without labels, and prove what it is worth.

commands:
  prepare   SOURCE --out STORE             decode images once into a store, with labels and splits
  pretrain  STORE|FOLDER --out RUN         momentum contrast, with losses on intermediate stages
  push      STORE s3://BUCKET/NAME         put a store into object storage, to train from there
  finetune  RUN|scratch|imagenet STORE --task T --fraction F --out RUN
                                           train on few labels, score on test with intervals
  report    RUNS... --to report.html       one self-contained page
  demo      [--out FOLDER]                 all of it in minutes, on images it makes itself
  recipes                                  list the pre-training recipes

options:
  --version  print the version
  --debug    show a traceback when something fails
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(_HELP)
        sys.exit(0)
    if words[0] == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"medstrata {version('medstrata')}\n")
        sys.exit(0)
    command, rest = words[0], [_underscored(word) for word in words[1:]]
    if command not in _COMMANDS:
        _usage_error("", f"no command {command!r}; there are {', '.join(_COMMANDS)}")
    try:
        _COMMANDS[command](rest)
    except (MedstrataError, ValueError) as error:
        if debug:
            raise
        say(f"medstrata {command}: {' '.join(str(error).split())}")
        sys.exit(1)
    except KeyboardInterrupt:
        how = "with --resume " if command in ("pretrain", "finetune") else ""
        say(f"medstrata {command}: stopped; {how}the same command goes on or starts again")
        sys.exit(130)


def _underscored(word: str) -> str:
    """`--batch-size=8` means `--batch_size=8`; values keep their hyphens."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _usage_error(command: str, message: str) -> NoReturn:
    name = f"medstrata {command}".strip()
    say(f"{name}: {' '.join(message.split())} (see {name} --help)")
    sys.exit(2)


def _parser(command: str, usage: str, description: str) -> ArgumentParser:
    return ArgumentParser(
        prog=f"medstrata {command}",
        usage=f"medstrata {command} {usage}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
    )


def _parse(parser: ArgumentParser, command: str, words: list[str]) -> Namespace:
    try:
        parsed: Namespace = parser.instantiate(parser.parse_args(words))
    except (ArgumentError, ValueError, TypeError) as error:
        _usage_error(command, str(error))
    return parsed


def _pick(kind: type[Settings], parsed: Namespace, command: str) -> Settings:
    try:
        return kind(**{field.name: getattr(parsed, field.name) for field in fields(kind)})
    except ValueError as error:
        _usage_error(command, str(error))


def _add_run_options(parser: ArgumentParser) -> None:
    parser.add_argument("--config", action="config", help="YAML file with any of these options.")
    parser.add_argument("--out", type=Path, required=True, help="Run folder.")
    parser.add_argument(
        "--resume", action="store_true", help="Go on with the run in the folder, if there is one."
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Delete the run in the folder first."
    )


def _prepare(words: list[str]) -> None:
    parser = _parser(
        "prepare",
        "SOURCE --out STORE [--labels CSV] [options]",
        "Decode a folder tree, or the files of a CSV or Parquet list, once into a store.",
    )
    _add_prepare_options(parser)
    parsed = _parse(parser, "prepare", words)
    from medstrata.data.prepare import prepare

    options = parsed.as_dict()
    prepare(options.pop("source"), options.pop("out"), **options)


def _add_prepare_options(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add("source", type=Path, help="Folder of images, or a CSV or Parquet list of them.")
    add("--out", type=Path, required=True, help="The store to write.")
    add("--labels", type=Path | None, help="CSV or Parquet file with labels.")
    add("--size", type=int | None, help="Side in pixels; by default that of the images, to 256.")
    add("--channels", type=int | None, help="1 or 3; by default 1 when all images are grey.")
    add("--fit", type=str, default="pad", help="pad, crop or stretch what is not square.")
    add("--file_column", type=str | None, help="Column with file names; guessed if not named.")
    add("--patient_column", type=str | None, help="Column to split by; guessed if not named.")
    add("--label_columns", type=list[str] | None, help="Label columns: '[a, b]'; else guessed.")
    add("--ordinal_columns", type=list[str], default=[], help="Label columns with an order.")
    add(
        "--split",
        type=str | None,
        help="Shares as 0.7/0.1/0.2 (the default), a column that holds train, val and test, or "
        "values of a column as fold:test=0,val=1.",
    )
    add("--seed", type=int, default=0, help="Decides the split.")
    add("--workers", type=int | None, help="Decoding threads; by default one a core.")
    add(
        "--max_quarantine",
        type=float,
        default=0.1,
        help="Share of unreadable images up to which the store is made.",
    )
    add("--overwrite", action="store_true", help="Delete a store in the way first.")


def _push(words: list[str]) -> None:
    parser = _parser(
        "push",
        "STORE ADDRESS [--overwrite]",
        "Put a store into object storage, such as s3://bucket/cxr.store, to be opened from there. "
        "Interrupted, the same command goes on.",
    )
    parser.add_argument("store", type=str, help="Store.")
    parser.add_argument("address", type=str, help="Where to: s3://, gs://, az:// or file://.")
    parser.add_argument("--overwrite", action="store_true", help="Replace another store there.")
    parsed = _parse(parser, "push", words)
    from medstrata.data.push import push

    push(parsed.store, parsed.address, overwrite=parsed.overwrite)


def _pretrain(words: list[str]) -> None:
    parser = _parser(
        "pretrain",
        "STORE|FOLDER --out RUN [--recipe NAME] [options]",
        "Pre-train an encoder without labels. A folder of images is prepared into a cache first.",
    )
    parser.add_argument("source", type=str, help="Store, its address, or folder of images.")
    _add_run_options(parser)
    parser.add_class_arguments(PretrainSettings)
    defaults = _recipe(_word_after(words, "--recipe"), words)
    parser.set_defaults(defaults)
    parsed = _parse(parser, "pretrain", words)
    # --recipe may have named a file, whose own recipe is the one to be remembered.
    settings = replace(_pick(PretrainSettings, parsed, "pretrain"), recipe=defaults["recipe"])
    from medstrata.data.cache import open_or_prepare
    from medstrata.pretraining import pretrain

    pretrain(
        open_or_prepare(parsed.source),
        settings,
        parsed.out,
        resume=parsed.resume,
        overwrite=parsed.overwrite,
    )


def _word_after(words: Sequence[str], option: str) -> str | None:
    for index, word in enumerate(words):
        if word == option and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


# What config.yaml and --print_config hold beside the settings.
_NOT_SETTINGS = {"store", "store_digest", "source", "config", "out", "resume", "overwrite"}


def _recipe(name: str | None, words: list[str]) -> dict[str, Any]:
    """Defaults from a recipe, a config.yaml, or on --resume from the run itself."""
    out = _word_after(words, "--out")
    if name is None and "--resume" in words and out and (Path(out) / "config.yaml").is_file():
        name = str(Path(out) / "config.yaml")
    if name is None:
        name = "fair/moco_mse"
    if name in RECIPES:
        return asdict(RECIPES[name]())
    path = Path(name)
    if not path.is_file():
        _usage_error("pretrain", f"no recipe {name!r}; there are {', '.join(RECIPES)}")
    settings = dict(yaml.safe_load(path.read_text(encoding="utf-8")))
    settings = {key: value for key, value in settings.items() if key not in _NOT_SETTINGS}
    unknown = settings.keys() - {field.name for field in fields(PretrainSettings)}
    if unknown:
        _usage_error("pretrain", f"{path} has unknown settings {sorted(unknown)}")
    return settings


def _finetune(words: list[str]) -> None:
    parser = _parser(
        "finetune",
        "RUN|scratch|imagenet|imagenet=FILE STORE --task T --fraction F --out RUN [options]",
        "Train a classifier on a fraction of the labels; score every test image once.",
    )
    parser.add_argument("encoder", type=str, help="Run folder, scratch, imagenet, imagenet=FILE.")
    parser.add_argument("store", type=str, help="Store with labels and splits, or its address.")
    parser.add_argument(
        "--task",
        type=str,
        required=True,
        help="Label column, or 'column: a vs b+c', or several 0/1 columns 'a,b,c'.",
    )
    parser.add_argument("--fraction", type=float, default=1.0, help="Share of the labels, 0 to 1.")
    parser.add_argument("--kind", type=str | None, help="binary, multiclass, multilabel, ordinal.")
    parser.add_argument("--backbone", type=str | None, help="timm name, for scratch and imagenet.")
    parser.add_argument("--arm", type=str | None, help="Name of this arm in tables.")
    _add_run_options(parser)
    parser.add_class_arguments(FinetuneSettings)
    parsed = _parse(parser, "finetune", words)
    settings = _pick(FinetuneSettings, parsed, "finetune")
    from medstrata.data.store import open_store
    from medstrata.finetuning import finetune

    finetune(
        parsed.encoder,
        open_store(parsed.store),
        parsed.task,
        parsed.fraction,
        parsed.out,
        settings,
        kind=parsed.kind,
        backbone=parsed.backbone,
        arm=parsed.arm,
        resume=parsed.resume,
        overwrite=parsed.overwrite,
    )


def _report(words: list[str]) -> None:
    parser = _parser(
        "report", "RUNS... --to report.html [--title TEXT]", "Write one self-contained page."
    )
    parser.add_argument("runs", type=Path, nargs="+", help="Run folders, or folders of them.")
    parser.add_argument("--to", type=Path, default=Path("report.html"), help="File to write.")
    parser.add_argument("--title", type=str, default="Low-label evaluation", help="Heading.")
    parsed = _parse(parser, "report", words)
    from medstrata.report.page import write_report

    say(f"report in {write_report(parsed.runs, parsed.to, parsed.title)}")


def _demo(words: list[str]) -> None:
    parser = _parser(
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
    parsed = _parse(parser, "demo", words)
    if (parsed.data is None) != (parsed.labels is None):
        _usage_error("demo", "--data and --labels go together")
    from medstrata.demonstration import demo

    report = demo(
        parsed.out, data=parsed.data, labels=parsed.labels, task=parsed.task, epochs=parsed.epochs
    )
    sys.stdout.write(f"{report}\n")


def _recipes(words: list[str]) -> None:
    parser = _parser("recipes", "", "List the pre-training recipes.")
    _parse(parser, "recipes", words)
    for name, make in RECIPES.items():
        settings = make()
        sys.stdout.write(
            f"{name:<32} {settings.backbone}, batch {settings.batch_size}, "
            f"temperature {settings.contrastive.temperature}, "
            f"intermediate loss {settings.intermediate.loss}\n"
        )


_COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "prepare": _prepare,
    "pretrain": _pretrain,
    "push": _push,
    "finetune": _finetune,
    "report": _report,
    "demo": _demo,
    "recipes": _recipes,
}
