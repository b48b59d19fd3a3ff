"""metrics.jsonl: what was lost is said before anything is written after it."""

from pathlib import Path

import pytest

from medstrata.runs.metrics_log import MetricsLog, read_metrics
from medstrata.runtime.errors import MedstrataError

RECORD = {"event": "step", "step": 1, "loss": 1.5}


def test_records_come_back_and_are_cut_to_the_checkpoint(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path)
    log.write(RECORD)
    length = log.length
    log.write(RECORD)
    log.close()
    MetricsLog(tmp_path, length=length).close()
    assert list(read_metrics(tmp_path / "metrics.jsonl", "step")) == [RECORD]


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_lost_records_are_said(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "metrics.jsonl").write_text(text)
    with pytest.raises(MedstrataError, match=r"metrics.jsonl has lost records: . of the 9 bytes"):
        MetricsLog(tmp_path, length=9)


@pytest.mark.parametrize("line", ["\0\0\0", "[]", "{}", "\xff"])
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"event": "step"}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(MedstrataError, match=r"metrics.jsonl, line 2 is no record"):
        list(read_metrics(path, "step"))
