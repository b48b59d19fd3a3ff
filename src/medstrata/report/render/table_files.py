"""A table as the text of a CSV file and of a LaTeX file."""

import re

from medstrata.report.render.formatting import bracketed
from medstrata.report.render.tables import Table, TableCell
from medstrata.runtime.harmless import csv_lines

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "−": "$-$",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "–": "--",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{NO-BREAK SPACE}": "~",
}
# What the page writes for the eye, and programs read better plainly.
_PLAIN = str.maketrans({"−": "-", "\N{NARROW NO-BREAK SPACE}": " ", "\N{NO-BREAK SPACE}": " "})


def csv_text(table: Table) -> str:
    """The table as CSV: numbers in full, the ends of intervals and notes in columns of their own.

    An entry without a number in a column of numbers is empty there; what it says is in its notes.
    """
    columns = [
        _csv_column(head, [row[place] for row in table.rows])
        for place, head in enumerate(table.heads)
    ]
    flat = [column for group in columns for column in group]
    return csv_lines(zip(*flat, strict=True))


def _csv_column(head: TableCell, entries: list[TableCell]) -> list[list[str]]:
    """One column of a table: head and entries, then what belongs to it."""
    name = _plain(head.text)
    numeric = any(entry.number is not None for entry in entries)
    columns = [
        [name, *(_number(entry.number) if numeric else _plain(entry.text) for entry in entries)]
    ]
    if any(entry.interval for entry in entries):
        for end, side in enumerate(("low", "high")):
            ends = (entry.interval[end] if entry.interval else None for entry in entries)
            columns.append([f"{name}: {side}", *map(_number, ends)])
    notes = [
        [*([entry.text] if numeric and entry.number is None else []), *entry.notes]
        for entry in entries
    ]
    if any(notes):
        columns.append([f"{name}: notes", *(_plain("; ".join(some)) for some in notes)])
    return columns


def _number(number: float | None) -> str:
    if number is None:
        return ""
    return str(number) if isinstance(number, int) else repr(float(number))


def _plain(text: str) -> str:
    return " ".join(text.translate(_PLAIN).split())


def latex_text(table: Table, name: str) -> str:
    """The table as LaTeX with the rules of booktabs, as it is shown in the page.

    Args:
        table: What is shown.
        name: Of its label.
    """
    places = "".join("r" if bare else "l" for bare in table.bare_numbers)
    lines = [
        r"% Needs \usepackage{booktabs}.",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_escaped(table.caption)}}}",
        rf"  \label{{tab:{name}}}",
        rf"  \begin{{tabular}}{{{places}}}",
        r"    \toprule",
        f"    {_row(table.heads)}",
        r"    \midrule",
        *(f"    {_row(row)}" for row in table.rows),
        r"    \bottomrule",
        r"  \end{tabular}",
        *([rf"  \par\smallskip {{\footnotesize {_escaped(table.note)}}}"] if table.note else []),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _row(entries: tuple[TableCell, ...]) -> str:
    row = " & ".join(_cell(entry) for entry in entries) + r" \\"
    # After the end of a row LaTeX would take either for its option.
    return f"{{{row[0]}}}{row[1:]}" if row[0] in "[*" else row


def _cell(entry: TableCell) -> str:
    text = _escaped(entry.text)
    if entry.best:
        text = rf"\textbf{{{text}}}"
    if entry.interval:
        text = f"{text} {_escaped(bracketed(entry.interval))}"
    if entry.notes:
        text = f"{text} ({_escaped('; '.join(entry.notes))})"
    return text


def _escaped(text: str) -> str:
    """Text that LaTeX prints as it is."""
    kept = "".join(one for one in text if one in _LATEX or one.isspace() or one.isprintable())
    # Spaces that break nothing stay; all others become one.
    one_line = re.sub(r"[ \t\r\n\f\v]+", " ", kept).strip()
    return "".join(_LATEX.get(one, one) for one in one_line)
