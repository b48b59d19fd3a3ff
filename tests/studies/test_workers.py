"""Processes of a study."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.studies import workers
from medstrata.studies.study import study


def test_a_script_without_a_guard_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "mine.py"
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(sys.modules, "__main__", main)
    script.write_text("import medstrata as ms\nms.study(...)\n")
    with pytest.raises(MedstrataError, match=r"mine.py runs a study.* put the call under `if __"):
        study(tmp_path / "none.store", "y", {"scratch": None}, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    script.write_text('import medstrata as ms\nif __name__ == "__main__":\n    ms.study(...)\n')
    workers._require_guard()  # without a word
