"""A short part of the torture tests: what they start, count and keep."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_hostile_settings_fall_nowhere_and_are_counted(tmp_path: Path) -> None:
    words = [sys.executable, ROOT / "torture" / "run.py", "settings", "--share", "0.3"]
    done = subprocess.run([*words, "--out", tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[2:] == [
        "| hostile settings: no code runs | 12 | 0 |",
        "| hostile settings: one line | 12 | 0 |",
    ]
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert kept["rows"]["hostile settings: one line"]["tries"] == 12
