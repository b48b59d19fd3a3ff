"""Settings from plain values, and settings with some values replaced; both typed and checked."""

import re
from argparse import ArgumentError
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from jsonargparse import ArgumentParser, get_loader, set_loader
from yaml import YAMLError

from medstrata.runtime.documents import require_small_yaml
from medstrata.runtime.errors import one_line

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")

_MODE = "medstrata"  # jsonargparse's YAML within our limits; its own modes are the process's
_load_yaml = get_loader("yaml")


def _load(text: str) -> Any:
    require_small_yaml(text)
    return _load_yaml(text)


set_loader(_MODE, _load, (ValueError, YAMLError))


def settings_parser(**options: Any) -> ArgumentParser:
    """A parser of words, files and plain values; `options` are jsonargparse's."""
    return ArgumentParser(exit_on_error=False, parser_mode=_MODE, **options)


def replace_settings(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    """Settings with some replaced: what recipes, studies and the command line all do.

    Args:
        settings: An instance of a settings dataclass.
        changes: Name -> value. A setting of a group is named with a dot, as in
            `contrastive.queue_size`, or its group takes a mapping of what to replace. Of settings
            of which one at most may be set (`EITHER` of the class), naming one empties the others.

    Raises:
        ValueError: a name or a value is wrong.
    """
    nested = _nested(changes)
    for names in getattr(settings, "EITHER", ()):
        if any(nested.get(name) is not None for name in names):
            nested = {**dict.fromkeys(names), **nested}
    if all(value == {} for value in nested.values()):
        return settings
    return parse_settings(type(settings), nested, asdict(settings))


def parse_settings(
    kind: type[Settings], values: Mapping[str, Any], defaults: Mapping[str, Any] | None = None
) -> Settings:
    """Settings from plain nested values, as YAML has them.

    Args:
        kind: The settings dataclass.
        values: Setting -> value; a group is a mapping.
        defaults: What stands where `values` is silent; None takes the dataclass' own.

    Raises:
        ValueError: a name or a value is wrong.
    """
    known = [one.name for one in fields(kind)]
    if unknown := sorted(values.keys() - set(known)):
        raise ValueError(f"no setting {unknown[0]!r}; there are {', '.join(known)}")
    parser = settings_parser()
    parser.add_class_arguments(kind)
    parser.set_defaults(dict(defaults or {}))
    try:
        # The parser writes into what it is given.
        typed = parser.instantiate(parser.parse_object(deepcopy(dict(values))))
    except (ArgumentError, TypeError, KeyError, ValueError) as error:
        words = one_line(error)
        raise ValueError(re.sub(r"Problem with given class_path '[^']*': ", "", words)) from error
    return kind(**{name: getattr(typed, name) for name in known})


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as mappings in mappings, settings as what they hold."""
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        group, dot, rest = name.partition(".")
        if dot:
            value = _nested({rest: value})
        elif is_dataclass(value) and not isinstance(value, type):
            value = asdict(value)
        before = nested.get(group)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = {**before, **value}
        nested[group] = value
    return nested
