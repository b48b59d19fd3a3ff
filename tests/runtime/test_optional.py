"""Libraries that only some installations have."""

import sys

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.optional import import_optional


def test_a_library_that_is_there_is_imported():
    assert import_optional("json", "reading JSON", "json") is sys.modules["json"]


def test_one_that_is_not_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MedstrataError, match=r"^HDF5 needs h5py: pip install 'medstrata\[hdf5\]'$"):
        import_optional("h5py", "HDF5", "hdf5")
