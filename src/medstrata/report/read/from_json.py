"""JSON -> frozen dataclasses: what is read of a result is what the fields of its class say."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

Record = TypeVar("Record")


def read_record(kind: type[Record], entry: Mapping[str, Any], **given: Any) -> Record:
    """Build a dataclass of the entries named as its fields are; other entries are not looked at.

    Args:
        kind: The dataclass; its fields are numbers, text, dataclasses, optional ones, tuples and
            mappings of these, or of a class with `parse`. What has a default may be absent, null or
            false.
        entry: What JSON holds. In a mapping, what is null, or an entry whose `value` is null, is
            not there: that is how an undefined score is written.
        given: Fields that are not taken from it.

    Raises:
        KeyError: an entry is missing; its name is the argument.
        ValueError, TypeError, AttributeError: an entry is not what the field says.
    """
    hints = get_type_hints(kind)
    values = dict(given)
    for field in fields(kind):  # type: ignore[arg-type]
        absent = entry.get(field.name) is None or entry[field.name] is False
        if field.name not in given and not (absent and _optional(field)):
            values[field.name] = _read(hints[field.name], entry[field.name])
    return kind(**values)


def _optional(field: "Field[Any]") -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _read(kind: Any, value: Any) -> Any:
    outer, inner = get_origin(kind), get_args(kind)
    if outer in (Union, UnionType):
        return None if value is None else _read(inner[0], value)
    if outer is tuple:
        return tuple(_read(inner[0], one) for one in _checked(list, value))
    if outer is Mapping:
        items = _checked(dict, value).items()
        return {str(name): _read(inner[1], one) for name, one in items if _defined(one)}
    if is_dataclass(kind) and not hasattr(kind, "parse"):
        return read_record(cast(type[Any], kind), value)
    return _READERS.get(kind, getattr(kind, "parse", kind))(value)


def _checked(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _defined(value: Any) -> bool:
    return value is not None and not (
        isinstance(value, Mapping) and value.get("value", ...) is None
    )


def read_number(value: Any) -> float:
    """A finite number, or ValueError."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number


_READERS: Mapping[Any, Any] = {float: read_number, Any: lambda value: value}
