"""How the code is built, in figures, each beside what it should be.

    python scripts/structure.py [--list]

--list names the places behind each figure that misses. Everything is read from the source as text:
nothing is imported or run.
"""

import argparse
import ast
import io
import keyword
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "medstrata"
_RUN = 6  # lines that stand twice and count
_COMMON = 8  # a run in more places is the language's, not ours
_TESTED = 40  # lines from which on a module should have a test file of its name


class Figure(NamedTuple):
    """One line of the table; `places` are those that make the figure what it is, worst first."""

    what: str
    value: float
    aim: float
    places: list[str]
    more_is_better: bool = False

    def met(self) -> bool:
        """Whether the aim is reached."""
        return self.value >= self.aim if self.more_is_better else self.value <= self.aim


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if not path.name.startswith(".#"))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def lines(folder: Path) -> int:
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files(folder))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


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
    """Files that reach themselves."""

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
    statements = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (node.end_lineno or 0) - statements[0].lineno + 1 if statements else 0


def parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return len([one for one in every if one.arg not in ("self", "cls")])


def shapes(path: Path) -> list[tuple[int, str]]:
    """Line number and shape of each line that counts: names, strings and numbers are all alike."""
    words: dict[int, list[str]] = defaultdict(list)
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        kind = tokenize.tok_name[token.type]
        if kind in ("COMMENT", "NL", "NEWLINE", "INDENT", "DEDENT", "ENDMARKER"):
            continue
        text = token.string
        if kind == "NAME" and not keyword.iskeyword(text):
            text = "n"
        elif kind in ("STRING", "NUMBER") or kind.startswith("FSTRING"):
            text = "v"
        words[token.start[0]].append(text)
    counted = []
    for number, line in sorted(words.items()):
        telling = line[0] not in ("import", "from") and {"n", "v"} & set(line) and len(line) > 2
        if telling:
            counted.append((number, " ".join(line)))
    return counted


def repeated() -> list[str]:
    """Pairs of files, or a file with itself, that share a run of lines, names aside."""
    folders = (SOURCE, ROOT / "tests", ROOT / "benchmarks", ROOT / "scripts")
    seen: dict[tuple[str, ...], list[tuple[Path, int]]] = defaultdict(list)
    for path in [path for folder in folders for path in files(folder)]:
        counted = shapes(path)
        for first in range(len(counted) - _RUN + 1):
            run = counted[first : first + _RUN]
            # A long table has one shape all through; only a run of some variety says anything.
            if len({shape for _, shape in run}) >= _RUN // 2:
                seen[tuple(shape for _, shape in run)].append((path, run[0][0]))
    pairs: dict[tuple[Path, Path], str] = {}
    for places in seen.values():
        if 2 <= len(places) <= _COMMON:
            for (one, here), (other, there) in combinations(places, 2):
                if one != other or abs(here - there) >= _RUN:
                    pairs.setdefault((one, other), f"{name(one)}:{here} ~ {name(other)}:{there}")
    return sorted(pairs.values())


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
    pairs = repeated()
    share, without = untested()
    long = [f"{lines} {place}" for lines, place in bodies if lines > 60]
    wide = [f"{count} {place}" for count, place in public if count > 8]
    return [
        Figure("rooms at the top of the package", len(rooms), 12, rooms),
        Figure("files at the top of the package", len(top), 2, top),
        Figure("levels of imports between rooms", len(storeys), 9, [", ".join(s) for s in storeys]),
        Figure("files that import themselves in a circle", len(going_round), 0, going_round),
        Figure("lines of src", lines(SOURCE), 30_000, []),
        Figure("lines of benchmarks", lines(ROOT / "benchmarks"), 2_500, []),
        Figure("lines of the longest function body", bodies[0][0], 60, long),
        Figure("parameters of the widest public function", public[0][0], 8, wide),
        Figure(f"pairs that share {_RUN} lines, names aside", len(pairs), 40, pairs),
        Figure("modules with a test file of their name, %", share, 60, without, True),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--list", action="store_true", help="name the places behind each miss")
    listed = parser.parse_args().list
    for figure in figures():
        sign = "at least" if figure.more_is_better else "at most"
        verdict = "" if figure.met() else "   MISSED"
        print(f"{figure.what:46} {figure.value:8,.0f}   {sign} {figure.aim:,.0f}{verdict}")
        if listed and not figure.met():
            print(*(f"    {place}" for place in figure.places), sep="\n")


if __name__ == "__main__":
    main()
