"""The process of its own that loads, decodes and opens for doctor, as doctor hears it."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medstrata.cli import doctor, doctor_child
from medstrata.cli.doctor import ChildReport, ask, check_store, read_report
from medstrata.data.store.store import Store
from support.waiting import PATIENCE_S


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_PATIENCE", PATIENCE_S)


def test_a_real_child_reports_what_fails_and_what_crashes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "timm.py").write_text("raise RuntimeError('operator does not exist')")
    crash = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"
    (tmp_path / "safetensors.py").write_text(crash)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    answer = ask()
    assert "import torch" in answer.facts
    assert answer.errors["import timm"] == "RuntimeError: operator does not exist"
    assert "ended by SIGABRT" in list(answer.errors.values())[-1]


def test_what_is_installed_here_loads_computes_and_decodes(store: Store) -> None:
    answer = ask(str(store.path))
    assert not answer.errors
    names, _ = answer.of("decode ")
    assert names == ["PNG", "JPEG", "TIFF", "WebP", "JPEG 2000", "DICOM"]
    assert answer.facts["device"]["threads"] >= 1
    assert "48 of them compared" in "\n".join(check.line for check in check_store(answer))


@pytest.fixture
def ask_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], ChildReport]:
    """The child's words about a store, said in this process."""

    def answer(store: str) -> ChildReport:
        monkeypatch.setattr(sys, "argv", ["doctor_child", store])
        doctor_child.main()
        return read_report(capsys.readouterr().out.encode(), "")

    return answer


def damaged_pixels(store: Path) -> None:
    shard = store / "images-00000.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)


def damaged_manifest(store: Path) -> None:
    header = json.loads((store / "store.json").read_text())
    del header["checksum"]  # as of an earlier version
    header["label_columns"]["finding"]["classes"].reverse()
    (store / "store.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (damaged_pixels, "wrong  store: 1 of 48 images are not what was written, such as "),
        (damaged_manifest, "wrong  store: the manifest is not the one that was written"),
        (lambda path: (path / "store.json").unlink(), "is damaged (store.json is missing)"),
    ],
)
def test_a_damaged_store(
    damage: Callable[[Path], None], line: str, store: Store, ask_here: Callable[[str], ChildReport]
) -> None:
    damage(store.path)
    said = "\n".join(check.line for check in check_store(ask_here(str(store.path))))
    assert line in said
    assert "wrong" in said


def test_a_store_far_away_is_left_alone(ask_here: Callable[[str], ChildReport]) -> None:
    said = "\n".join(check.line for check in check_store(ask_here("s3://b/x.store")))
    assert said.startswith("warn   store: s3://b/x.store is not looked at: doctor makes no network")
