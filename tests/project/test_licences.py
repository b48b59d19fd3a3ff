"""The list of licences names what an installation rests on, and refuses what would bind users."""

import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def licences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, writing its page elsewhere."""
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    monkeypatch.setattr(made, "PAGE", tmp_path / "licences.md")
    return made


def test_page_and_sbom_name_what_is_installed(
    licences: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "sbom.json"
    monkeypatch.setattr(sys, "argv", ["licences.py", "--sbom", str(path)])
    licences.main()
    page = (tmp_path / "licences.md").read_text()
    assert f"| torch | {metadata.version('torch')} | " in page
    sbom = json.loads(path.read_text())
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.5")
    parts = {part["name"]: part for part in sbom["components"]}
    assert parts["numpy"]["purl"] == f"pkg:pypi/numpy@{metadata.version('numpy')}"
    assert all(part["version"] and part["licenses"] for part in parts.values())
    assert len(parts) == len(sbom["components"]) == page.count("\n| ") - 1  # less the heading


def test_needs_of_needs_and_of_extras_are_followed(licences: ModuleType) -> None:
    needs = licences.needed_by()
    assert needs["MarkupSafe"] == "core"  # through Jinja2
    assert needs["pydicom"] == "dicom"
    assert needs["submitit"] == "slurm"
    assert not {"medstrata", "ruff", "lightly"} & needs.keys()


@pytest.mark.parametrize(
    ("stated", "binds"),
    [
        ("GPL-3.0-or-later", True),
        ("AGPL-3.0-only", True),
        ("GNU General Public License v3 (GPLv3)", True),
        ("GNU Affero General Public License v3", True),
        ("LGPL-2.1-or-later", False),
        ("GNU Lesser General Public License v3 (LGPLv3)", False),
        ("Apache-2.0 AND MIT", False),
    ],
)
def test_what_binds_users(licences: ModuleType, stated: str, binds: bool) -> None:
    assert bool(licences.BINDING.search(stated)) == binds


def test_a_binding_licence_fails(licences: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(licences, "licence", {"numpy": "AGPL-3.0-only"}.get)
    monkeypatch.setattr(licences, "needed_by", lambda: {"numpy": "core"})
    monkeypatch.setattr(sys, "argv", ["licences.py"])
    with pytest.raises(SystemExit, match="licences that bind users: numpy"):
        licences.main()


def test_kept_page_lists_every_dependency() -> None:
    page = (ROOT / "docs" / "licences.md").read_text().lower()
    needs = metadata.requires("medstrata") or []
    core = [one for one in needs if "extra" not in one]
    names = [one.split(";")[0].split("[")[0].split(">")[0].strip().lower() for one in core]
    assert len(names) > 15
    assert [name for name in names if f"| {name} |" not in page] == []
