"""Arguments of the command line: parsing them, and what a usage error looks like."""

import sys
from argparse import ArgumentError
from collections.abc import Sequence
from typing import NoReturn

from jsonargparse import ArgumentParser, Namespace

from medstrata.console import say


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


def parse(parser: ArgumentParser, command: str, words: list[str]) -> Namespace:
    """Parse the words after a command; leaves with status 2 where they are wrong."""
    try:
        parsed: Namespace = parser.instantiate(parser.parse_args(words))
    except (ArgumentError, ValueError, TypeError) as error:
        usage_error(command, str(error))
    return parsed


def word_after(words: Sequence[str], option: str) -> str | None:
    """The value of an option, before anything is parsed; None where it is not given."""
    for index, word in enumerate(words):
        if word == option and index + 1 < len(words):
            return words[index + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None
