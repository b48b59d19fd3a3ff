"""Settings: groups, plain values, what is wrong, and words that no setting of any class has."""

from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from importlib import import_module
from inspect import getmembers
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import medstrata
from medstrata.data.prepare.decode import StoreFormat
from medstrata.runtime.settings import parse_settings, replace_settings


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.1
    sides: tuple[int, int] = (1, 2)
    weights: dict[str, float] = field(default_factory=lambda: {"a": 1.0, "b": 1.0})

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError(f"rate must be above 0, got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str | None = None
    inner: Inner = field(default_factory=Inner)
    other: Inner = field(default_factory=lambda: Inner(rate=0.5))


def test_a_dot_a_mapping_and_settings_reach_a_group() -> None:
    start = Outer(name="kept", inner=Inner(sides=(3, 4)))
    expected = Outer(name="kept", inner=Inner(rate=0.2, sides=(3, 4)))
    assert replace_settings(start, {"inner.rate": 0.2}) == expected
    assert replace_settings(start, {"inner": {"rate": 0.2}}) == expected
    assert replace_settings(start, {"inner": Inner(rate=0.2)}) == Outer(
        name="kept", inner=Inner(rate=0.2)
    )
    both = replace_settings(start, {"inner.rate": 0.2, "inner": {"sides": [5, 6]}, "other.rate": 1})
    assert (both.inner.rate, both.inner.sides, both.other.rate) == (0.2, (5, 6), 1.0)
    assert replace_settings(start, {"inner": {}}) is start


def test_a_mapping_that_is_a_value_is_replaced_whole() -> None:
    assert replace_settings(Outer(), {"inner": {"weights": {"b": 2}}}).inner.weights == {"b": 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nme": "x"}, "no setting 'nme'; there are name, inner, other"),
        ({"inner.rat": 1}, "rat"),
        ({"inner.rate": "fast"}, "Expected a <class 'float'>"),
        ({"inner": {"rate": 0}}, "rate must be above 0, got 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        replace_settings(Outer(), changes)
    assert "\n" not in str(caught.value)


def test_plain_values_become_settings() -> None:
    assert parse_settings(Outer, {"inner": {"rate": 0.3}}) == Outer(inner=Inner(rate=0.3))
    assert parse_settings(Outer, {}, {"name": "given"}) == Outer(name="given")


def of_given_values() -> Iterator[Any]:
    """Class and name of each setting that is one of some values, in the whole package."""
    root = Path(medstrata.__file__).parent
    yield pytest.param(StoreFormat, "fit", id="StoreFormat.fit")
    for path in sorted(root.rglob("*settings.py")):
        name = ".".join(("medstrata", *path.relative_to(root).with_suffix("").parts))
        for _, kind in getmembers(import_module(name), is_dataclass):
            for setting, hint in get_type_hints(kind).items():
                # A mapping from given words is a setting of its own kind.
                if kind.__module__ == name and "Literal[" in str(hint) and "dict[" not in str(hint):
                    yield pytest.param(kind, setting, id=f"{kind.__name__}.{setting}")


@pytest.mark.parametrize(("kind", "name"), list(of_given_values()))
def test_a_setting_of_given_values_takes_no_other(kind: Any, name: str) -> None:
    needed = {
        one.name: None
        for one in fields(kind)
        if one.default is MISSING and one.default_factory is MISSING
    }
    with pytest.raises(ValueError, match=rf"{kind.__name__}\.{name} must be .*got 'no such word'"):
        kind(**{**needed, name: "no such word"})


def test_such_settings_are_found() -> None:
    found = {param.id for param in of_given_values()}
    assert found >= {"FinetuneSettings.protocol", "ImportSettings.in_channels", "DataSettings.kind"}
