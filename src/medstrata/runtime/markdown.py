"""Text of users made safe for a model card: Markdown that shows it and does nothing else."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

_LONGEST = 300
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~$&:@-])")
_KEPT_SLASH = ("recipe",)


def plain(text: object) -> str:
    """One line without control characters, at most 300 long."""
    shown = "".join(
        character if unicodedata.category(character)[0] != "C" else " " for character in str(text)
    )
    line = " ".join(shown.split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def escaped(text: object) -> str:
    """The same as Markdown that reads as it was written: no links, HTML, tables or code."""
    return _SPECIAL.sub(r"\\\1", plain(text)).replace("\\<", "&lt;").replace("\\&", "&amp;")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def without_paths(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without the values that could be places on somebody's disk."""
    return {
        key: _cleaned(value)
        for key, value in settings.items()
        if key in _KEPT_SLASH or not _is_place(value)
    }


def _cleaned(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_paths(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value if not _is_place(item)]
    return plain(value) if isinstance(value, str) else value


def _is_place(value: object) -> bool:
    return isinstance(value, str) and ("/" in value or "\\" in value or value.startswith("~"))


def yaml_block(settings: Mapping[str, Any]) -> str:
    """Settings as a fenced block, which no value can end."""
    text = yaml.safe_dump(dict(settings), sort_keys=False, allow_unicode=True)
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}yaml\n{text}{fence}\n"
