"""The process of its own that loads, decodes and opens for doctor, as doctor hears it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medstrata.cli.doctor import ask, check_store
from medstrata.data.store.store import Store


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


def damaged_pixels(store: Path) -> None:
    shard = store / "images-00000.npy"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)


def damaged_manifest(store: Path) -> None:
    header = json.loads((store / "store.json").read_text())
    header["label_columns"]["finding"]["classes"].reverse()
    (store / "store.json").write_text(json.dumps(header))


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda _: None, "48 of them compared"),
        (damaged_pixels, "wrong  store: 1 of 48 images are not what was written, such as "),
        (damaged_manifest, "wrong  store: the manifest is not the one that was written"),
        (lambda path: (path / "store.json").unlink(), "is not a store: make one with"),
    ],
)
def test_store(damage: Callable[[Path], None], line: str, store: Store) -> None:
    damage(store.path)
    answer = ask(str(store.path))
    said = "\n".join(check.line for check in check_store(answer))
    assert line in said
    assert ("wrong" in said) == ("compared" not in line)
    # By the way, what is installed here loads, computes and decodes.
    assert answer.errors.keys() <= {"store"}
    names, _ = answer.of("decode ")
    assert names == ["PNG", "JPEG", "TIFF", "WebP", "JPEG 2000", "DICOM"]
    assert answer.facts["device"]["threads"] >= 1


def test_a_store_far_away_is_left_alone() -> None:
    said = "\n".join(check.line for check in check_store(ask("s3://b/x.store")))
    assert said.startswith("warn   store: s3://b/x.store is not looked at: doctor makes no network")
