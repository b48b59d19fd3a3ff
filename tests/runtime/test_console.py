"""Lines for the terminal: as they are, on stderr, from one process alone."""

import pytest

from medstrata.runtime.console import duration, say, warn


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
