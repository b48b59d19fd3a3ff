"""A study file is read, or refused in one line that names it."""

from pathlib import Path

import pytest
import yaml

from medstrata.runtime.errors import MedstrataError
from medstrata.studies.settings import AnalysisSettings, ProtocolSettings
from medstrata.studies.study_file import load_study
from support.small_study import TINY, tiny


def test_a_study_is_read_as_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(TINY))
    assert load_study(tmp_path / "study.yaml") == tiny()


def test_an_empty_group_stands_for_its_defaults() -> None:
    study = tiny(protocols={"frozen": {}}, probe={})
    assert study.protocols == {"frozen": ProtocolSettings()}
    assert (study.probe, study.atlas) == (AnalysisSettings(), None)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (None, r"study\.yaml cannot be read \(No such file"),
        ("a: [b", r"study\.yaml cannot be read as YAML"),
        ("- a", r"study\.yaml is not a mapping of settings"),
        ("dat: 1", r"study\.yaml: no setting 'dat'"),
        (yaml.safe_dump({**TINY, "pretrain": {"epoch": 1}}), r"study\.yaml: no setting 'epoch'"),
    ],
)
def test_what_is_no_study_is_refused(written: str | None, message: str, tmp_path: Path) -> None:
    if written is not None:
        (tmp_path / "study.yaml").write_text(written)
    with pytest.raises(MedstrataError, match=message):
        load_study(tmp_path / "study.yaml")
