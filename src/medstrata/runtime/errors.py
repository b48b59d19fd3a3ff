"""Errors that a user can mend, and the checks of settings."""

from collections.abc import Iterable
from dataclasses import fields
from itertools import islice
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class MedstrataError(Exception):
    """Something the user can mend: one line that says what, where and what to do."""


class Stopped(MedstrataError):  # noqa: N818  (asked for, not a failure)
    """A run that was asked to stop and has saved what it did."""


def one_line(error: BaseException, *, named: bool = False, limit: int | None = None) -> str:
    """What an error says, in one line, to be quoted in a sentence.

    Args:
        error: One that says nothing is called by its type.
        named: Whether the type stands before what it says.
        limit: Most characters.
    """
    kind, words = type(error).__name__, " ".join(str(error).split())
    line = f"{kind}: {words}" if named and words else words or kind
    return line[:limit]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the system or a GPU had no memory left, as PyTorch says it too."""
    named = type(error).__name__ == "OutOfMemoryError" or "allocate memory" in str(error)
    return named or isinstance(error, MemoryError)


def first_few(values: Iterable[object]) -> str:
    """The first three values, to be quoted in a sentence."""
    first = [str(value) for value in islice(values, 4)]
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")


def require(condition: bool, owner: object, name: str, allowed: str) -> None:
    """Raise ValueError with the name, the value and what is allowed, unless the condition holds.

    Args:
        condition: Whether the value is allowed.
        owner: The settings that have it.
        name: Of the attribute that holds it.
        allowed: In words that follow "must be".
    """
    if not condition:
        value = getattr(owner, name)
        raise ValueError(f"{type(owner).__name__}.{name} must be {allowed}, got {value!r}")


def require_choices(settings: "DataclassInstance") -> None:
    """Raise ValueError, as `require` does, unless each setting that is one of some values is.

    A setting is that by its type: a `Literal`, or a `Literal` or None.
    """
    hints = get_type_hints(type(settings))
    for name in (field.name for field in fields(settings)):
        if choices := _choices(hints[name]):
            words = ", ".join("none" if one is None else str(one) for one in choices)
            require(getattr(settings, name) in choices, settings, name, f"one of {words}")


def _choices(hint: Any) -> tuple[object, ...]:
    """What a `Literal` allows, or a `Literal` or None; empty for any other type."""
    if get_origin(hint) is Literal:
        return get_args(hint)
    options = [one for one in get_args(hint) if one is not NoneType]
    if get_origin(hint) in (Union, UnionType) and len(options) == 1:
        inner = _choices(options[0])
        return (*inner, None) if inner else ()
    return ()
