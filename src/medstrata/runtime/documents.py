"""JSON and YAML from files that others wrote: read whole and within limits, or refused in a line.

Few bytes can ask for much: brackets for more stack than there is, YAML's aliases, each of which
repeats what another one repeats, for more values than there is memory.
"""

from collections.abc import Callable, Iterable
from json import loads
from pathlib import Path
from typing import Any

import yaml

LARGEST_JSON = 2**26  # bytes; the hashes of a million patients take 20 MB
LARGEST_YAML = 2**20  # bytes
DEEPEST = 64  # brackets within each other; ours need 8
MOST_VALUES = 100_000  # of YAML, each counted as often as it is repeated

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_json(path: Path, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """A JSON file's value.

    Args:
        path: The file.
        parse_constant: What NaN and the infinities become; Python's floats otherwise.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON in UTF-8, or beyond the limits.
    """
    return parse_json(_read(path, LARGEST_JSON), parse_constant)


def parse_json(text: str | bytes, parse_constant: Callable[[str], Any] | None = None) -> Any:
    """The value of a JSON text; see `read_json`."""
    _require(len(text) <= LARGEST_JSON, f"larger than {LARGEST_JSON:,} bytes")
    try:
        value = loads(text, parse_constant=parse_constant)
    except RecursionError as error:
        raise ValueError("too many brackets within each other") from error
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [inner for one in level for inner in _children(one)]
    _require(not level, f"more than {DEEPEST} brackets within each other")
    return value


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def read_yaml(path: Path) -> Any:
    """A YAML file's value, of plain types alone.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no YAML in UTF-8, or beyond the limits.
    """
    return parse_yaml(_read(path, LARGEST_YAML).decode())


def parse_yaml(text: str) -> Any:
    """The value of a YAML text; see `read_yaml`."""
    require_small_yaml(text)
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a safe one)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def require_small_yaml(text: str) -> None:
    """Raise ValueError where a YAML text is none, or beyond the limits; nothing is built of it."""
    _require(len(text) <= LARGEST_YAML, f"larger than {LARGEST_YAML:,} bytes")
    values = 0
    begun: list[tuple[str, int]] = []  # of what is not closed yet: its anchor, the values before it
    named: dict[str, int] = {}  # how many values an anchor stands for
    try:
        for event in yaml.parse(text, _Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                begun.append((event.anchor or "", values))
                _require(len(begun) <= DEEPEST, f"more than {DEEPEST} brackets within each other")
            elif isinstance(event, yaml.CollectionEndEvent):
                anchor, before = begun.pop()
                values += 1
                named[anchor] = values - before
            elif isinstance(event, yaml.AliasEvent):
                values += named.get(event.anchor or "", MOST_VALUES)  # what holds itself has no end
            elif isinstance(event, yaml.ScalarEvent):
                values += 1
                named[event.anchor or ""] = 1
            _require(values < MOST_VALUES, f"{MOST_VALUES:,} values or more, repetitions included")
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _read(path: Path, largest: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(largest + 1)
    _require(len(data) <= largest, f"larger than {largest:,} bytes")
    return data


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
