"""Lines for the terminal: as they are, on stderr, from one process alone."""

import subprocess
import sys

import pytest
from rich.table import Table

from medstrata.runtime.console import duration, put, say, show, warn


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59.6, "1 min 00 s"),
        (62, "1 min 02 s"),
        (3599.6, "1 h 00 min"),
        (4_500_000, "1,250 h 00 min"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_lines_are_left_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say("[red]not markup[/red] " + "word " * 40)
    warn("[0]")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "[red]not markup[/red] " + "word " * 40 + "\nwarning: [0]\n"


def test_the_first_of_several_processes_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        say(f"from {rank}")
    assert capsys.readouterr().err == "from 0\n"


@pytest.mark.parametrize("line", ["loss mypackage:X: it failed", "[bold]a[/bold] :warning: %s"])
def test_a_line_is_printed_as_it_is(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(line)
    assert capsys.readouterr().err == f"{line}\n"


def test_names_do_nothing_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    name = "\x1b[31mred\n\u202e.png"
    table = Table("\x9b2J")
    table.add_row("\x1b]0;title\x07")
    say(name)
    warn(name)
    show(table)
    put(f"{name}\tkept\n")
    shown = capsys.readouterr()
    assert shown.err.startswith("<U+001B>[31mred<U+000A><U+202E>.png\nwarning: <U+001B>[31m")
    assert shown.out == "<U+001B>[31mred\n<U+202E>.png\tkept\n"
    assert not {"\x1b", "\x07", "\x9b"} & {*shown.err, *shown.out}


@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        (">&-", 1, "standard output is closed"),
        ("> /dev/full", 1, "standard output cannot be written: No space left on device"),
        ("| true", 0, ""),
        (">&- 2>&-", 1, ""),
    ],
)
def test_results_for_nobody_are_no_traceback(how: str, status: int, words: str) -> None:
    command = f"set -o pipefail; {sys.executable} -m medstrata recipes {how}"
    done = subprocess.run(
        ["/bin/bash", "-c", command], stderr=subprocess.PIPE, text=True, check=False
    )
    assert done.returncode == status
    assert done.stderr == (f"medstrata recipes: {words}\n" if words else "")
