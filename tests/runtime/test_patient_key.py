"""The site's key: made once, for its owner alone; hashes tell nothing without it."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.patient_key import PatientKey, key_path, site_key


@pytest.fixture
def own_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "deep" / "patient.key"
    monkeypatch.setenv("MEDSTRATA_PATIENT_KEY", str(path))
    return path


def test_it_is_made_on_first_need_and_stays(own_path: Path) -> None:
    key = site_key()
    assert own_path.read_bytes() == key.secret
    assert len(key.secret) == 32
    assert stat.S_IMODE(own_path.stat().st_mode) == 0o600
    assert site_key() == key
    assert [path.name for path in own_path.parent.iterdir()] == [own_path.name]


@pytest.mark.usefixtures("own_path")
def test_many_at_once_get_the_same() -> None:
    with ThreadPoolExecutor(8) as executor:
        keys = set(executor.map(lambda _: site_key().secret, range(64)))
    assert len(keys) == 1


def test_hashes_depend_on_key_and_patient() -> None:
    one, other = PatientKey(b"1" * 32), PatientKey(b"2" * 32)
    assert one.hash("a") == PatientKey(b"1" * 32).hash("a")
    assert len({one.hash("a"), one.hash("b"), other.hash("a"), one.fingerprint}) == 4
    assert one.fingerprint != other.fingerprint
    assert len(one.hash("a")) == 16
    assert len(one.fingerprint) == 8
    assert "1" * 8 not in repr(one)


def test_it_lies_in_the_configuration_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDSTRATA_PATIENT_KEY")
    assert key_path() == Path.home() / ".config" / "medstrata" / "patient.key"


def test_what_is_no_key_is_refused(own_path: Path) -> None:
    own_path.parent.mkdir()
    own_path.write_bytes(b"short")
    with pytest.raises(MedstrataError, match="has 5 bytes instead of 32: put back its copy"):
        site_key()
    own_path.unlink()
    own_path.mkdir()
    with pytest.raises(MedstrataError, match=r"cannot be read or made .*MEDSTRATA_PATIENT_KEY"):
        site_key()
