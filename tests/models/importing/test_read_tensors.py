"""Files that must not be believed: one line, status 1, nothing executed."""

import argparse
import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file

from medstrata.models.importing.read_tensors import read_tensors
from medstrata.runtime.errors import MedstrataError

STATE = {"conv1.weight": torch.arange(4.0)}


class RunsCode:
    """A call made while it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def refused(path: Path) -> str:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(MedstrataError) as caught:
            read_tensors(path)
    assert not warned
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert str(path) in line
    # PyTorch's own message proposes to load without protection.
    assert "arbitrary code execution" not in line
    return line


def repacked(path: Path, out: Path, **options: Any) -> Path:
    """The entries of an archive in a new one, and `extra` beside them."""
    extra = options.pop("extra", {})
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", **options) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry.filename))
        for name, content in extra.items():
            new.writestr(name, content)
    return out


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    torch.save({"state_dict": STATE}, tmp_path / "plain.pth")
    return tmp_path / "plain.pth"


# --- Code --------------------------------------------------------------------------------------


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_a_file_with_code_is_refused_unrun(zipped: bool, tmp_path: Path) -> None:
    content = {**STATE, "callback": RunsCode(tmp_path / "ran")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    assert "holds Python objects (posix.mkdir)" in refused(tmp_path / "evil.pth")
    assert not (tmp_path / "ran").exists()
    # The file is what it claims to be: read without protection, it runs.
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["bare.pth", "bare.safetensors", "bare.bin"])
def test_a_bare_pickle_is_refused_unrun(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(RunsCode(tmp_path / "ran")))
    refused(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (argparse.Namespace(lr=0.1), "argparse.Namespace"),
        (OmegaConf.create({"lr": 0.1}), "omegaconf.dictconfig.DictConfig"),
        (Path("/data"), f"{type(Path()).__module__}.PosixPath"),  # pathlib._local in Python 3.13
        (np.zeros(3), "numpy._core.multiarray._reconstruct"),
    ],
)
def test_python_objects_are_named_with_the_way_out(
    value: object, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"state_dict": STATE, "args": value}, tmp_path / "x.ckpt")
    line = refused(tmp_path / "x.ckpt")
    assert named in line
    assert "conv1" not in line
    # The way out, as the line says it, works.
    monkeypatch.chdir(tmp_path)
    exec(line[line.index("import torch") :], {})  # noqa: S102
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["conv1.weight"], torch.arange(4.0))


def test_a_numpy_scalar_is_no_object(tmp_path: Path) -> None:
    torch.save({"state_dict": STATE, "best": np.float64(0.9)}, tmp_path / "x.pth")
    assert read_tensors(tmp_path / "x.pth")["best"] is None


def test_a_pickled_model_is_refused(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "model.pt")
    assert "torch.nn.modules.linear.Linear" in refused(tmp_path / "model.pt")


def test_torchscript_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        for name in ("script/data.pkl", "script/constants.pkl", "script/code/__torch__.py"):
            archive.writestr(name, b"")
    assert "TorchScript" in refused(tmp_path / "script.pt")


def test_the_tar_format_is_refused_unrun(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "old.pth", "w") as archive:
        for name in ("storages", "tensors", "pickle", "sys_info"):
            content = pickle.dumps(RunsCode(tmp_path / "ran"))
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    refused(tmp_path / "old.pth")
    assert not (tmp_path / "ran").exists()


# --- Archives ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "plain\\evil"])
def test_an_archive_with_paths_out_of_it_is_refused(name: str, plain: Path, tmp_path: Path) -> None:
    path = repacked(plain, tmp_path / "path.pth", extra={name: b"x"})
    assert "as no weights file does" in refused(path)


@pytest.mark.parametrize("content", [bytes(10_000_000), os.urandom(1000)], ids=["bomb", "noise"])
def test_a_compressed_archive_is_refused(content: bytes, plain: Path, tmp_path: Path) -> None:
    path = repacked(
        plain,
        tmp_path / "packed.pth",
        compression=zipfile.ZIP_DEFLATED,
        extra={"plain/data/9": content},
    )
    assert path.stat().st_size < 100_000
    assert "is compressed or unpacks to more than it holds" in refused(path)


def test_a_tensor_larger_than_the_file_is_refused(plain: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(tmp_path / "big.pth", "w") as new:
        for entry in old.infolist():
            content = old.read(entry.filename)
            if entry.filename.endswith("data.pkl"):
                wide = b"J" + struct.pack("<i", 1_000_000_000)
                assert content.count(b"K\x04") == 2  # elements of the storage, size of the tensor
                content = content.replace(b"K\x04", wide)
            new.writestr(entry.filename, content)
    assert "cannot be read as weights" in refused(tmp_path / "big.pth")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "old format"])
def test_a_truncated_file_is_refused(zipped: bool, tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    torch.save({"w": torch.zeros(1000)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)


def test_a_container_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"state_dict": dict(STATE)}
    content["again"] = content
    torch.save(content, tmp_path / "loop.pth")
    assert list(read_tensors(tmp_path / "loop.pth")) == ["state_dict/conv1.weight"]


# --- Safetensors -------------------------------------------------------------------------------


def header(content: object) -> bytes:
    text = json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"these are no weights",
        struct.pack("<Q", 2**62) + b"{}",
        header({"w": {"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}}),
        header({"w": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}) + bytes(8),
        header({"w": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
    ],
    ids=["empty", "text", "long header", "bomb", "offset", "kind"],
)
def test_damaged_safetensors_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(content)
    assert "cannot be read as weights" in refused(tmp_path / "w.safetensors")


def test_truncated_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(STATE, path)
    path.write_bytes(path.read_bytes()[:-1])
    refused(path)


def test_safetensors_are_known_by_their_content(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.bin")
    assert torch.equal(read_tensors(tmp_path / "model.bin")["conv1.weight"], STATE["conv1.weight"])


# --- Other things ------------------------------------------------------------------------------


def test_a_missing_file_and_a_pointer_are_told_apart(tmp_path: Path) -> None:
    assert "no weights file at" in refused(tmp_path / "nowhere.pth")
    pointer = tmp_path / "w.safetensors"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "pointer of Git LFS" in refused(pointer)


@pytest.mark.parametrize("content", [torch.zeros(3), [1, 2]], ids=["tensor", "list"])
def test_a_file_without_a_state_dict_is_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "holds no state dict" in refused(tmp_path / "other.pth")


def test_names_from_a_file_cannot_speak_to_the_terminal(tmp_path: Path) -> None:
    save_file({"\x1b[2Jconv1\n.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    assert list(read_tensors(tmp_path / "w.safetensors")) == ["?[2Jconv1?.weight"]


def test_tensors_without_plain_values_are_refused(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(3, device="meta")}, tmp_path / "empty.pth")
    assert "quantised, sparse or empty" in refused(tmp_path / "empty.pth")


def test_a_tensor_that_repeats_itself_without_end_is_refused(tmp_path: Path) -> None:
    state = {**STATE, "conv2.weight": torch.zeros(1).expand(10**13, 3, 3, 3)}
    torch.save(state, tmp_path / "endless.pth")
    assert (tmp_path / "endless.pth").stat().st_size < 10_000
    assert "conv2.weight claims more than the file holds" in refused(tmp_path / "endless.pth")
