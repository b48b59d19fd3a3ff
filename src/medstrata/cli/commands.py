"""The table of commands, from which dispatch, help, completion and the docs come."""

import re
import textwrap
from argparse import ArgumentError
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from medstrata.exporting.settings import TARGETS

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


_LONGEST = 250  # characters of an error; a wrong file would be shown whole


class UsageError(Exception):
    """A command that was called wrongly."""


@dataclass(frozen=True)
class Command:
    """One command; its code is the module of its name, imported only when it is wanted.

    The module's docstring is what `--help` says; `add_arguments(parser)` declares what the command
    takes, `run(arguments)` does it. Optional: `defaults(parser, words)`, values of what the words
    leave out.

    Attributes:
        name: As it is typed.
        usage: What it takes, in short.
        summary: What it does, for the list of commands.
    """

    name: str
    usage: str
    summary: str

    @property
    def module(self) -> ModuleType:
        """Where the command's code is."""
        return import_module(f"medstrata.cli.{self.name.replace('-', '_')}")

    def parser(self) -> "ArgumentParser":
        """The parser of what stands after the command's name."""
        from medstrata.runtime.settings import settings_parser

        parser = settings_parser(
            prog=f"medstrata {self.name}",
            usage=f"medstrata {self.name} {self.usage}",
            description=self.module.__doc__,
            allow_abbrev=False,
        )
        self.module.add_arguments(parser)
        return parser

    def run(self, words: Sequence[str]) -> None:
        """Do what the words after the command's name ask for.

        Raises:
            UsageError: they are not understood.
        """
        words = [_underscored(word) for word in words]
        parser = self.parser()
        try:
            if hasattr(self.module, "defaults"):
                parser.set_defaults(self.module.defaults(parser, words))
            arguments = parser.instantiate(parser.parse_args(words))
        except (ArgumentError, ValueError, TypeError) as error:
            raise UsageError(_in_short(str(error)) + _near(str(error), parser)) from error
        self.module.run(arguments)


def _near(message: str, parser: "ArgumentParser") -> str:
    """The option that may be meant by one that there is not."""
    unknown = re.search(r"[Uu]nrecognized arguments: --([\w.]+)", message)
    if unknown is None:
        return ""
    offered = [option for action in parser._actions for option in action.option_strings]  # noqa: SLF001
    near = get_close_matches(f"--{unknown[1]}", offered, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _in_short(message: str) -> str:
    """Of jsonargparse's words on a value the argument, what it may be, and what it was."""
    argument = re.match(r"Parser key \"(.+?)\"", message)
    allowed = re.findall(r"Expected an? (?:<class '([\w.]+)'>|typing\.Literal\[(.+?)\])", message)
    value = re.search(r"(?:Got|Given) value: (.*)$", message)
    if not (argument and allowed and value):
        return textwrap.shorten(message, _LONGEST)
    kinds = [
        kind or f"one of {choices}".replace("'", "")
        for kind, choices in allowed
        if kind != "NoneType"
    ]
    wanted = " or ".join(dict.fromkeys(kinds))
    return textwrap.shorten(f"{argument[1]} must be {wanted}, got {value[1]}", _LONGEST)


def _underscored(word: str) -> str:
    """`--batch-size=8` means `--batch_size=8`; values keep their hyphens."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


_ENCODER = "RUN|FILE|scratch|imagenet|imagenet=FILE"

COMMANDS = {
    command.name: command
    for command in (
        Command(
            "prepare",
            "SOURCE --out STORE [--labels CSV] [options]",
            "decode images once into a store, with labels and splits",
        ),
        Command(
            "datasets",
            "[NAME | check NAME ROOT]",
            "known data sets: list, explain one, check a copy",
        ),
        Command(
            "audit",
            "STORE [--allow-leakage] [--task T] [--fractions '[0.01, 0.1, 1]']",
            "copies, leakage, label counts, shortcuts",
        ),
        Command(
            "pretrain",
            "STORE|FOLDER --out RUN [--recipe NAME] [options]",
            "momentum contrast, with losses on intermediate stages",
        ),
        Command(
            "import-weights",
            "FILE --backbone NAME --out FOLDER [--encoder NAME] [--prefix P] [options]",
            "an encoder of another program, in place of a run",
        ),
        Command(
            "push",
            "STORE ADDRESS [--overwrite]",
            "put a store into object storage, to train from there",
        ),
        Command(
            "finetune",
            f"{_ENCODER} STORE --task T --fraction F --out RUN [options]",
            "train on few labels, score on test with intervals",
        ),
        Command(
            "study",
            "STUDY.yaml --out DIR [options]",
            "every arm x data set x fraction x seed, and the report",
        ),
        Command(
            "reproduce",
            "chest|histopathology|retina ROOT --out DIR [--preset paper|fair] [options]",
            "the paper's exhibits from the raw download",
        ),
        Command(
            "reuse",
            "RUN STORE --out RUN [options]",
            "what fine-tuning left of each stage's features",
        ),
        Command(
            "probe",
            f"{_ENCODER} STORE --task T --out RUN [--fraction F] [options]",
            "what each stage of a frozen encoder knows of a task",
        ),
        Command(
            "atlas",
            f"{_ENCODER} STORE --task T --out RUN [options]",
            "spectra, neighbours and a map of an encoder's features",
        ),
        Command(
            "export",
            f"RUN --to {'|'.join(TARGETS)} --out FOLDER [options]",
            "the encoder as another program loads it, checked there",
        ),
        Command(
            "embed",
            "RUN|scratch|imagenet|imagenet=FILE SOURCE --out features.parquet|features.npz "
            "[options]",
            "features of a store, a folder, a file or stdin's paths",
        ),
        Command(
            "predict",
            "RUN SOURCE --out predictions.csv|- [options]",
            "probabilities and classes by a fine-tuned run",
        ),
        Command(
            "report",
            "RUNS... --to report.html [--title TEXT] [--no-files]",
            "one self-contained page of runs, its tables and figures",
        ),
        Command(
            "demo",
            "[--out FOLDER] [--data FOLDER --labels CSV] [options]",
            "all of it in minutes, on images it makes itself",
        ),
        Command(
            "bench",
            "[--backbone resnet50] [--size 224] [--batch-size 32] [--store STORE] [options]",
            "how fast this machine is, and the hours of a run",
        ),
        Command("recipes", "", "list the pre-training recipes"),
        Command(
            "doctor",
            "[--store STORE] [--json]",
            "what is wrong with this machine, and how to mend it",
        ),
        Command(
            "completion",
            "bash|zsh|fish|tcsh",
            "a script that completes all this in a shell",
        ),
    )
}
