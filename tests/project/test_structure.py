"""The code is built as it should be; what the script on that takes for a copy, and what not."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "structure.py"
FIELDS = """
@dataclass(frozen=True)
class {name}:
    {first}: str
    {second}: float
    seed: int = 0
    rows: list[float] = field(default_factory=list)
    names: tuple[str, ...] = ()
"""
BODY = """
def {name}({first}, {second}):
    total = sum({first}.values())
    for row in {second}:
        if row.count > total:
            raise ValueError(f"{{row}} is too many")
        total -= row.count * {first}[row.name]
    return round(total, 3)
"""
IMPORTS = (
    "from package import (\n    {first},\n" + "".join(f"    n{i},\n" for i in range(9)) + ")\n"
)
CALL = "\nplot(\n" + "".join(f"    key{i}={{first}}.value,\n" for i in range(9)) + ")\n"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def repeated(script: dict[str, Any]) -> Callable[[list[Path]], list[str]]:
    return script["repeated"]  # type: ignore[no-any-return]


def test_no_figure_misses_a_bound(
    script: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), "--list"])
    assert script["main"]() == 0, capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "bound", "status", "said"),
    [(2, True, 0, "at most 2"), (3, True, 1, "MISSED"), (3, False, 0, "missed, an aim")],
)
def test_an_aim_may_be_missed_and_a_bound_may_not(
    value: float,
    bound: bool,
    status: int,
    said: str,
    script: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    figure = script["Figure"]("files", value, 2, ["one.py"], bound=bound)
    monkeypatch.setitem(script["main"].__globals__, "figures", lambda: [figure])
    monkeypatch.setattr(sys, "argv", [str(SCRIPT)])
    assert script["main"]() == status
    assert capsys.readouterr().out.rstrip().endswith(said)


@pytest.mark.parametrize(
    ("text", "renamed", "to_the_letter"),
    [(FIELDS, False, True), (BODY, True, True), (IMPORTS, False, False), (CALL, False, True)],
    ids=["fields", "body", "imports", "a table"],
)
def test_copies(
    text: str,
    renamed: bool,
    to_the_letter: bool,
    tmp_path: Path,
    repeated: Callable[[list[Path]], list[str]],
) -> None:
    paths = [tmp_path / "one.py", tmp_path / "other.py"]
    for path, first in zip(paths, ("weights", "counts"), strict=True):
        path.write_text(text.format(name=path.stem, first=first, second=f"more_{first}"))
    assert bool(repeated(paths)) == renamed
    paths[1].write_text("# moved\n" + paths[0].read_text())
    assert bool(repeated(paths)) == to_the_letter


def test_the_list_says_where_and_how_much(
    tmp_path: Path, repeated: Callable[[list[Path]], list[str]]
) -> None:
    path = tmp_path / "one.py"
    one = BODY.format(name="one", first="a", second="b")
    path.write_text(one + BODY.format(name="other", first="c", second="d"))
    assert repeated([path]) == ["7 lines: one.py:2 ~ one.py:10"]
