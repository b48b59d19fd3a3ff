"""Rooms import one way, say so themselves, and importing costs nothing."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import medstrata

SOURCE = Path(medstrata.__file__).parent
ROOMS = sorted(path.parent for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE)
MOST_ROOMS = 12
# Statistics and losses stand on arrays alone; what they take from the package is its plain words.
LEAVES = {"metrics": {"runtime"}, "runtime": set()}


def name_of(room: Path) -> str:
    return room.relative_to(SOURCE).as_posix()


def modules(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if not path.name.startswith("__")]


def contents(room: Path) -> dict[str, Path]:
    """Files and rooms of a room by name."""
    files = {path.stem: path for path in room.glob("*.py") if not path.name.startswith("__")}
    return files | {path.name: path for path in room.iterdir() if path in ROOMS}


def imported(path: Path) -> Iterator[Path]:
    """Files and rooms of the package that a file imports from, wherever in it that happens."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("medstrata"):
            place = SOURCE.joinpath(*node.module.split(".")[1:])
            for alias in node.names:
                inner = place / alias.name
                found = inner if inner.with_suffix(".py").exists() or inner in ROOMS else place
                yield found if found in ROOMS or found == SOURCE else found.with_suffix(".py")


def neighbours(room: Path) -> set[str]:
    """What stands beside a room, files and rooms, and is imported in it."""
    beside = set()
    for path in modules(room):
        for place in imported(path):
            if place.is_relative_to(room.parent) and not place.is_relative_to(room):
                parts = place.relative_to(room.parent).parts
                beside |= {parts[0].removesuffix(".py")} if parts else set()
    return beside


def said(room: Path, word: str) -> set[str]:
    """The names after a word of the docstring of a room, as in `Imports: runtime, metrics.`."""
    text = ast.get_docstring(ast.parse((room / "__init__.py").read_text())) or ""
    found = re.search(rf"^{word}: (.*?)\.$", text, re.DOTALL | re.MULTILINE)
    assert found, f"{name_of(room)} does not say {word!r}"
    return {name.strip() for name in found[1].replace("\n", " ").split(",")} - {"nothing"}


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_says_what_is_in_it_and_imports_no_more_than_it_says(room: Path) -> None:
    assert said(room, "Read") == contents(room).keys()
    assert said(room, "Imports") == neighbours(room)


@pytest.mark.parametrize("room", [SOURCE, *ROOMS], ids=lambda room: room.name)
def test_imports_go_one_way(room: Path) -> None:
    inside = contents(room)
    graph = {
        name: {
            place.relative_to(room).parts[0].removesuffix(".py")
            for path in (modules(one) if one.is_dir() else [one])
            for place in imported(path)
            if place.is_relative_to(room) and place != room
        }
        - {name}
        for name, one in inside.items()
    }
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_front_door_is_small() -> None:
    assert len([room for room in ROOMS if room.parent == SOURCE]) <= MOST_ROOMS
    assert {path.name for path in SOURCE.glob("*.py")} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("name", LEAVES)
def test_leaves_import_no_more_than_they_must(name: str) -> None:
    assert said(SOURCE / name, "Imports") <= LEAVES[name]


def test_files_stay_short() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in modules(SOURCE)}
    assert not {name: lines for name, lines in lengths.items() if lines > 400}


def test_names_of_encoders_are_read_in_one_file() -> None:
    splitting = [
        path.relative_to(SOURCE).as_posix()
        for path in modules(SOURCE)
        if 'partition("=")' in path.read_text()
    ]
    # The others split options of the command line and rules of splits.
    assert sorted(splitting) == [
        "cli/commands.py",
        "data/prepare/split_rules.py",
        "runs/encoder_spec.py",
    ]


def test_cores_are_counted_in_one_file() -> None:
    counting = re.compile(r"cpu_count|sched_getaffinity|cpu_affinity")
    counted_in = [path for path in modules(SOURCE) if counting.search(path.read_text())]
    assert counted_in == [SOURCE / "runtime" / "machine.py"]


def test_public_names_exist_and_no_room_takes_their_place() -> None:
    for name in dir(medstrata):
        assert getattr(medstrata, name) is not None
        assert not (SOURCE / f"{name}.py").exists()
        assert not (SOURCE / name).exists()
