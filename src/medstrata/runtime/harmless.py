"""Text of files and people, without what a terminal or a spreadsheet would act on.

A name may hold escape sequences, which move the cursor, or change what is written in the direction
of; a cell that begins with an equals sign is run by a spreadsheet as a formula.
"""

import re
import unicodedata
from collections.abc import Iterable

# Controls, marks that change how other characters are shown, ends of lines, halves of characters.
_ACTING = ("Cc", "Cf", "Zl", "Zp", "Cs")
_WRITTEN = re.compile(r"<U\+([0-9A-F]{4,6})>")
# Where a cell begins, also for a spreadsheet that takes semicolons for commas.
_FORMULA = re.compile(r"(^|;)('*)(?=[=+\-@＝＋－＠])")
_GUARDED = re.compile(r"(^|;)'('*)(?=[=+\-@＝＋－＠])")
WRITTEN_CSV = r"'|<U\+"  # in a cell that `csv_lines` may have written otherwise
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def visible(text: str, keep: str = "") -> str:
    """The text with characters that act on a terminal, but those to keep, written as `<U+001B>`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _written(one) if unicodedata.category(one) in _ACTING and one not in keep else one
        for one in text
    )


def csv_lines(rows: Iterable[Iterable[object]]) -> str:
    """Rows as lines of a CSV file whose cells no spreadsheet runs; `csv_value` gives cells back."""
    return "".join(",".join(map(_cell, row)) + "\n" for row in rows)


def csv_value(cell: str) -> str:
    """What a cell of text held before it was written by `csv_lines`."""
    plain = _GUARDED.sub(r"\1\2", cell) if "'" in cell else cell
    return _WRITTEN.sub(lambda found: chr(int(found[1], 16)), plain) if "<U+" in plain else plain


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, str):
        text = visible(_WRITTEN.sub(lambda found: _written("<") + found[0][1:], text))
        if not _NUMBER.fullmatch(text):
            text = _FORMULA.sub(r"\1'\2", text)
    return '"' + text.replace('"', '""') + '"' if any(one in text for one in ',";') else text


def _written(character: str) -> str:
    return f"<U+{ord(character):04X}>"
