"""Errors that a user can mend, and the check of a setting."""

from collections.abc import Iterable
from itertools import islice


class MedstrataError(Exception):
    """Something the user can mend: one line that says what, where and what to do."""


class Stopped(MedstrataError):  # noqa: N818  (asked for, not a failure)
    """A run that was asked to stop and has saved what it did."""


def one_line(error: BaseException) -> str:
    """The beginning of what an error says, in one line, to be quoted in a sentence."""
    return " ".join(str(error).split())[:120]


def first_few(values: Iterable[object]) -> str:
    """The first three values, to be quoted in a sentence."""
    first = [str(value) for value in islice(values, 4)]
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")


def require(condition: bool, owner: object, name: str, allowed: str) -> None:
    """Raise ValueError with the name, the value and what is allowed, unless the condition holds."""
    if not condition:
        value = getattr(owner, name)
        raise ValueError(f"{type(owner).__name__}.{name} must be {allowed}, got {value!r}")
