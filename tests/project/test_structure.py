"""What the script on the structure takes for a copy, and what not."""

import runpy
from collections.abc import Callable
from pathlib import Path

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
def repeated() -> Callable[[list[Path]], list[str]]:
    return runpy.run_path(str(SCRIPT))["repeated"]  # type: ignore[no-any-return]


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
