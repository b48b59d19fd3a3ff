"""What an error says, in one line."""

from medstrata.runtime.errors import one_line


def test_an_error_is_one_line_with_its_type_where_that_is_asked_for() -> None:
    error = KeyError("no\n  such   key")
    assert one_line(ValueError("two\n  lines")) == "two lines"
    assert one_line(ValueError("two\n  lines"), named=True) == "ValueError: two lines"
    assert one_line(error, named=True, limit=8) == "KeyError"
    for named in (False, True):
        assert one_line(ValueError(), named=named) == "ValueError"
