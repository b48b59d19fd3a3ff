"""How the code is built, in figures, each beside what it should be.

    python scripts/structure.py [--list]

--list names the places behind each figure that misses, worst first. The exit status is 1 where one
misses a bound; an aim may be missed, and says so. Everything is read from the
source as text: nothing is imported or run. The docstring of the function behind a figure says what
it counts; docs/how/architecture.md says what the figures once were.
"""

import argparse
import ast
import io
import keyword
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "medstrata"
_RUN = 6  # lines that stand twice and count
_COMMON = 8  # a run in more places is the language's, not ours
_NO_WORDS = ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER")
_TESTED = 40  # lines from which on a module should have a test file of its name


class Figure(NamedTuple):
    """One line of the table; `places` are those that make the figure what it is, worst first."""

    what: str
    value: float
    aim: float
    places: list[str]
    more_is_better: bool = False
    bound: bool = True  # the aim must not be missed

    def met(self) -> bool:
        """Whether the aim is reached."""
        return self.value >= self.aim if self.more_is_better else self.value <= self.aim


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if not path.name.startswith(".#"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines(folder: Path) -> int:
    """All lines of a folder's modules, docstrings, comments and blank lines too."""
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files(folder))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name


def imports() -> dict[Path, set[Path]]:
    """File -> files of the package that it imports from."""
    known = set(files(SOURCE))
    found: dict[Path, set[Path]] = {}
    for path in known:
        found[path] = set()
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("medstrata"):
                place = SOURCE.joinpath(*str(node.module).split(".")[1:])
                for alias in node.names:
                    choices = (place / f"{alias.name}.py", place.with_suffix(".py"))
                    found[path] |= {next((one for one in choices if one in known), path)} - {path}
    return found


def circles(graph: Mapping[Path, set[Path]]) -> list[str]:
    """Files from which a chain of imports leads back to them."""

    def reached(start: Path) -> set[Path]:
        seen: set[Path] = set()
        waiting = list(graph[start])
        while waiting:
            one = waiting.pop()
            if one not in seen:
                seen.add(one)
                waiting += graph[one]
        return seen

    return [name(path) for path in graph if path in reached(path)]


def levels(graph: Mapping[Path, set[Path]]) -> list[list[str]]:
    """Rooms from the ground up: each stands one higher than the highest it imports from."""
    rooms: dict[str, set[str]] = defaultdict(set)
    for path, others in graph.items():
        own = path.relative_to(SOURCE).parts[0]
        rooms[own] |= {other.relative_to(SOURCE).parts[0] for other in others} - {own}

    @cache
    def height(room: str) -> int:
        return 1 + max((height(other) for other in rooms[room]), default=0)

    of_level: dict[int, list[str]] = defaultdict(list)
    for room in rooms:
        of_level[height(room)].append(room)
    return [sorted(of_level[level]) for level in sorted(of_level)]


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in files(SOURCE):
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from the first statement after the docstring to the last, comments among them too."""
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Named parameters but for self and cls; the figure is of functions without an underscore."""
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([one for one in every if one.arg not in ("self", "cls")])


class Line(NamedTuple):
    """A line of code: its number, its words, the same without names and values, where it stands."""

    number: int
    words: str
    shape: str
    acts: bool  # in the body of a function


def places(path: Path) -> tuple[set[int], set[int]]:
    """Line numbers of imports, and of what functions do: their bodies but for docstrings."""
    imported: set[int] = set()
    acting: set[int] = set()
    for node in ast.walk(tree(path)):
        last = getattr(node, "end_lineno", 0) + 1
        if isinstance(node, ast.Import | ast.ImportFrom):
            imported |= set(range(node.lineno, last))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            acting |= set(range(body[0].lineno, last)) if body else set()
    return imported, acting


def code(path: Path) -> list[Line]:
    """The lines that count: no import, docstring or comment, no bracket or keyword by itself."""
    words: dict[int, list[str]] = defaultdict(list)
    shape: dict[int, list[str]] = defaultdict(list)
    imported, acting = places(path)
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        kind, row = tokenize.tok_name[token.type], token.start[0]
        if row in imported or kind in _NO_WORDS:
            continue
        words[row].append(token.string)
        if kind == "NAME" and not keyword.iskeyword(token.string):
            shape[row].append("n")
        elif kind in ("STRING", "NUMBER") or kind.startswith("FSTRING"):
            shape[row].append("v")
        else:
            shape[row].append(token.string)
    return [
        Line(row, " ".join(words[row]), " ".join(one), row in acting)
        for row, one in sorted(shape.items())
        if {"n", "v"} & set(one) and len(one) > 2
    ]


def repeated(paths: Iterable[Path]) -> list[str]:
    """Pairs of files, or a file with itself, where a run of six lines or more stands twice.

    A run stands twice where its lines are the same to the letter, or where they are alike but for
    names, strings and numbers and at least three of six are in the body of a function: two heads
    of classes or functions, two lists of fields or two tables that merely look alike are no copied
    idea, but the same fields under the same names are one. A run in more than eight places is the
    language's, one of a single shape is a list; neither counts unless it is the same to the letter.
    """
    seen: dict[tuple[str, ...], list[tuple[Path, list[int]]]] = defaultdict(list)
    for path in paths:
        counted = code(path)
        for first in range(len(counted) - _RUN + 1):
            run = counted[first : first + _RUN]
            numbers = [line.number for line in run]
            shape = tuple(line.shape for line in run)
            seen[tuple(line.words for line in run)].append((path, numbers))
            if sum(line.acts for line in run) >= _RUN // 2 and len(set(shape)) > 1:
                seen["names aside", *shape].append((path, numbers))
    pairs: dict[tuple[Path, Path], dict[int, int]] = defaultdict(dict)
    for found in seen.values():
        if 2 <= len(found) <= _COMMON:
            for (one, here), (other, there) in combinations(found, 2):
                if one != other or there[0] > here[-1]:
                    pairs[one, other] |= dict(zip(here, there, strict=True))
    return [
        f"{len(shared)} lines: {name(one)}:{min(shared)} ~ {name(other)}:{shared[min(shared)]}"
        for (one, other), shared in sorted(pairs.items(), key=lambda pair: -len(pair[1]))
    ]


def untested() -> tuple[float, list[str]]:
    """Share of the larger modules that have a test file of their name in the same room."""
    modules = [
        path
        for path in files(SOURCE)
        if not path.name.startswith("__") and len(path.read_text().splitlines()) >= _TESTED
    ]
    tests = {path.relative_to(ROOT / "tests") for path in files(ROOT / "tests")}
    missing = [
        path
        for path in modules
        if not any(
            test.parent == path.relative_to(SOURCE).parent
            and test.stem.startswith(f"test_{path.stem}")
            for test in tests
        )
    ]
    return 100 * (1 - len(missing) / len(modules)), [name(path) for path in missing]


def figures() -> list[Figure]:
    """Every figure with its aim."""
    graph = imports()
    rooms = sorted(path.parent.name for path in SOURCE.glob("*/__init__.py"))
    top = sorted(path.name for path in SOURCE.glob("*.py"))
    bodies = sorted(
        (
            (body_lines(node), f"{name(path)}:{node.lineno} {node.name}")
            for path, node in functions()
        ),
        reverse=True,
    )
    public = sorted(
        (
            (parameters(node), f"{name(path)}:{node.lineno} {node.name}")
            for path, node in functions()
            if not node.name.startswith("_")
        ),
        reverse=True,
    )
    storeys = levels(graph)
    going_round = circles(graph)
    folders = (SOURCE, ROOT / "tests", ROOT / "benchmarks", ROOT / "scripts")
    pairs = repeated(path for folder in folders for path in files(folder))
    share, without = untested()
    long = [f"{lines} {place}" for lines, place in bodies if lines > 60]
    wide = [f"{count} {place}" for count, place in public if count > 8]
    return [
        Figure("rooms at the top of the package", len(rooms), 12, rooms),
        Figure("files at the top of the package", len(top), 2, top),
        Figure("levels of imports between rooms", len(storeys), 9, [", ".join(s) for s in storeys]),
        Figure("files that import themselves in a circle", len(going_round), 0, going_round),
        Figure("lines of src", lines(SOURCE), 30_000, [], bound=False),
        Figure("lines of benchmarks", lines(ROOT / "benchmarks"), 2_500, []),
        Figure("lines of the longest function body", bodies[0][0], 60, long),
        Figure("parameters of the widest public function", public[0][0], 8, wide),
        Figure(f"pairs of places that share {_RUN} lines", len(pairs), 11, pairs),
        Figure("modules with a test file of their name, %", share, 75, without, True),
    ]


def main() -> int:
    """Print the table; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the places behind each miss")
    listed = parser.parse_args().list
    found = figures()
    for figure in found:
        sign = "at least" if figure.more_is_better else "at most"
        verdict = "" if figure.met() else "   MISSED" if figure.bound else "   missed, an aim"
        print(f"{figure.what:46} {figure.value:8,.0f}   {sign} {figure.aim:,.0f}{verdict}")
        if listed and not figure.met():
            print(*(f"    {place}" for place in figure.places), sep="\n")
    return int(any(figure.bound and not figure.met() for figure in found))


if __name__ == "__main__":
    sys.exit(main())
