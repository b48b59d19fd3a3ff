"""The site builds without a warning, and every tutorial runs as it stands."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import medstrata
from medstrata.data.datasets.registry import DATASETS

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "start" / "tutorials").glob("*.py"))


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_runs(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = dict(DATASETS)
    runpy.run_path(str(script), run_name="__main__")
    DATASETS.clear()
    DATASETS.update(known)


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial_page_shows_its_script(script: Path) -> None:
    page = script.with_suffix(".md").read_text()
    shown = {line.rpartition(":")[2].strip('"') for line in page.splitlines() if "--8<--" in line}
    marked = {
        line.partition("start:")[2].rstrip("]")
        for line in script.read_text().splitlines()
        if "[start:" in line
    }
    assert shown == marked


def test_every_public_name_is_on_the_python_page() -> None:
    page = (ROOT / "docs" / "how" / "api.md").read_text()
    shown = set(re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE))
    public = (getattr(medstrata, name) for name in dir(medstrata))
    assert not {f"{one.__module__}.{one.__qualname__}" for one in public} - shown


def test_site_builds_without_warnings(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    commands = (tmp_path / "site" / "commands" / "index.html").read_text()
    assert "usage: medstrata finetune" in commands
