"""Objects are loaded by the path they are imported from."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.import_path import load_object


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "someones_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "losses.py").write_text("class SmoothL1:\n    beta = 0.5\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [name for name in sys.modules if name.startswith("someones_package")]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_an_object_is_loaded_by_its_path() -> None:
    assert load_object("someones_package.losses:SmoothL1", "loss").beta == 0.5


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("smooth_l1", "loss 'smooth_l1' is no import path; write package.module:Name"),
        ("someones_package:", "is no import path"),
        (":SmoothL1", "is no import path"),
        ("some/file.py:SmoothL1", "is no import path"),
        (
            "someones_package.loses:SmoothL1",
            "loss someones_package.loses:SmoothL1: there is no module someones_package.loses on "
            "Python's path; install its package, or add its folder to PYTHONPATH",
        ),
        ("nobodys_package.losses:SmoothL1", "there is no module nobodys_package on"),
        (
            "someones_package.losses:Smooth",
            "someones_package.losses has no Smooth; correct the name after the colon",
        ),
    ],
)
def test_what_is_not_there_is_said_in_one_line(path: str, message: str) -> None:
    with pytest.raises(MedstrataError) as caught:
        load_object(path, "loss")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("import a_package_that_nobody_has", "ModuleNotFoundError: No module named 'a_package_th"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines"),
        ("import sys\nsys.exit(0)", "SystemExit: 0"),
    ],
)
def test_a_module_that_fails_names_its_cause(package: Path, code: str, cause: str) -> None:
    (package / "broken.py").write_text(code)
    with pytest.raises(
        MedstrataError, match=r"importing someones_package\.broken failed"
    ) as caught:
        load_object("someones_package.broken:SmoothL1", "loss")
    assert cause in str(caught.value)
    assert "\n" not in str(caught.value)
