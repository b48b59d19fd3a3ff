"""Kinds of runs: each is known to the report, and what is unknown is none."""

import json
from pathlib import Path
from typing import get_args

from medstrata.report.read.results import KINDS
from medstrata.runs.folder import write_result
from medstrata.runs.kinds import RunKind, kind_of


def test_the_report_reads_every_kind_but_imports() -> None:
    assert {*KINDS, "import"} == set(get_args(RunKind))


def test_a_result_says_of_which_kind_it_is(tmp_path: Path) -> None:
    write_result(tmp_path, "probe", {"seed": 0}, {"value": float("nan")})
    result = json.loads((tmp_path / "result.json").read_text())
    assert result == {"kind": "probe", "value": None, "settings": {"seed": 0}}
    assert kind_of(result) == "probe"


def test_a_kind_of_another_version_is_none() -> None:
    assert kind_of({"kind": "probing"}) is None
    assert kind_of({}) is None
