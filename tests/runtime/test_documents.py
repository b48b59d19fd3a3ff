"""JSON and YAML that ask for more than a file of settings or results can need."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medstrata.runtime.documents import (
    LARGEST_YAML,
    parse_json,
    parse_yaml,
    read_json,
    read_yaml,
)
from support.commands import leave, one_line

NESTED = "[" * 5_000 + "]" * 5_000
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_as_many_brackets_as_are_allowed_are_read_and_one_more_is_refused(
    parse: Callable[[str], Any],
) -> None:
    value = parse("[" * 64 + "1" + "]" * 64)
    for _ in range(64):
        (value,) = value
    assert value == 1
    for depth in (66, 900, 5_000):
        with pytest.raises(ValueError, match=r"brackets within each other|maximum nesting depth"):
            parse("[" * depth + "1" + "]" * depth)


def test_aliases_are_counted_as_often_as_they_repeat() -> None:
    assert parse_yaml("a: &a {x: 1}\nb: *a\nc: {<<: *a, y: 2}\n")["c"] == {"x": 1, "y": 2}
    for text in (BOMB, "a: &a [*a]\n", "a: &a {b: [1, *a]}\n", "[" + "1," * 100_000 + "]"):
        with pytest.raises(ValueError, match="100,000 values or more, repetitions included"):
            parse_yaml(text)


def test_a_file_is_not_read_beyond_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("# " + "x" * LARGEST_YAML)
    with pytest.raises(ValueError, match="larger than 1,048,576 bytes"):
        read_yaml(path)
    with pytest.raises(ValueError, match="larger than 67,108,864 bytes"):
        read_json(Path("/dev/zero"))


@pytest.mark.parametrize("text", [f"epochs: {NESTED}\n", BOMB], ids=["brackets", "aliases"])
@pytest.mark.parametrize(
    "words",
    [
        "pretrain x.store --out run --config FILE",
        "pretrain x.store --out run --recipe FILE",
        "finetune scratch x.store --task finding --out run --config FILE",
        "study FILE --out study",
    ],
)
def test_commands_refuse_it_in_one_line_and_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file.yaml").write_text(text)
    begun = time.process_time()
    assert leave(*words.replace("FILE", "file.yaml").split()) in (1, 2)
    assert time.process_time() - begun < 20  # it did not end in 45 s
    line = one_line(capsys)
    assert "nesting depth" in line or "repetitions included" in line


def test_a_store_whose_header_nests_too_deeply_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "store.json").write_text(NESTED)
    assert leave("audit", tmp_path) == 1
    assert "is damaged (ValueError: too many brackets within each other)" in one_line(capsys)
