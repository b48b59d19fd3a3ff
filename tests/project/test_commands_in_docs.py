"""The commands that README and docs show are understood by the program as they stand."""

import re
import shlex
from pathlib import Path

import pytest

from medstrata.cli.commands import COMMANDS

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
CODE = re.compile(r"^```\w*\n(.*?)^```|^((?: {4}.*\n)+)", re.DOTALL | re.MULTILINE)
# What a page leaves out, and what follows a command for the shell.
END = re.compile(r"\s(#|\.\.\.|>|\||&)")


def shown(page: Path) -> list[str]:
    """The commands in the code of a page, each on one line, without comments."""
    code = "".join(fenced or indented for fenced, indented in CODE.findall(page.read_text()))
    lines = [line.strip().removeprefix("$ ") for line in code.replace("\\\n", " ").splitlines()]
    found = (line for line in lines if re.match(r"medstrata [a-z]", line))
    return [END.split(line)[0] for line in found if not re.match(r"medstrata [\w-]+:", line)]


COMMAND_LINES = sorted({line for page in PAGES for line in shown(page)})


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_a_command_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, name, *words = shlex.split(line)
    understood: list[object] = []
    monkeypatch.setattr(COMMANDS[name].module, "run", understood.append)
    COMMANDS[name].run(words)
    assert understood


def test_the_landing_page_lists_every_command() -> None:
    page = ROOT / "docs" / "index.md"
    assert {line.split()[1] for line in shown(page)} == set(COMMANDS)
