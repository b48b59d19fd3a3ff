import pytest

from medstrata.runtime.console import say


@pytest.mark.parametrize("line", ["loss mypackage:X: it failed", "[bold]a[/bold] :warning: %s"])
def test_a_line_is_printed_as_it_is(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(line)
    assert capsys.readouterr().err == f"{line}\n"
