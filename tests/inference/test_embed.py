"""Features of folders, streams and stores."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from medstrata.cli import main as cli
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.inference import forward, inputs
from medstrata.inference.embed import embed
from medstrata.inference.inputs import Files, named_on, open_inputs
from medstrata.inference.settings import EmbedSettings
from medstrata.models import features
from medstrata.models.encoders import load_run
from medstrata.models.features import StoredFeatures, extract_features
from medstrata.runtime.errors import MedstrataError

STAGES = ["stage1", "stage2", "stage3", "stage4", "pooled"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that are not square, of two depths and in colour, none of the encoder's size."""
    folder = tmp_path_factory.mktemp("embed") / "images"
    (folder / "deep").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for number in range(7):
        grey = draw.integers(0, 256, (50 + number, 80), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.png"), grey)
    cv2.imwrite(str(folder / "deep" / "a.png"), draw.integers(0, 4096, (90, 70), dtype=np.uint16))
    cv2.imwrite(str(folder / "deep" / "b.jpg"), draw.integers(0, 256, (64, 99, 3), dtype=np.uint8))
    return folder


def expected(encoder: Path, store: Store) -> StoredFeatures:
    loaded = load_run(encoder)
    device = forward.evaluation_device()
    backbone = loaded.backbone.to(device)
    return extract_features(backbone, store, store.rows(), loaded.preprocessing, device)


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_a_folder_gives_what_a_store_made_of_it_gives(
    folder: Path, encoder: Path, tmp_path: Path, fit: str
) -> None:
    store = prepare(folder, tmp_path / "s.store", PrepareSettings(size=32, channels=1, fit=fit))
    of_files = embed(
        encoder, folder, tmp_path / "files.parquet", EmbedSettings(stages=("all",), fit=fit)
    )
    of_store = embed(
        encoder, store.path, tmp_path / "store.parquet", EmbedSettings(stages=("all",))
    )
    files, stored = pd.read_parquet(of_files), pd.read_parquet(of_store)
    assert files["id"].tolist() == store.manifest["source"].tolist()
    truth = expected(encoder, store).layers()
    for stage in STAGES:
        one, other = np.stack(files[stage]), np.stack(stored[stage])
        assert one.dtype == np.float32
        assert np.array_equal(one, other), stage
        np.testing.assert_allclose(one, truth[stage], atol=1e-5)
        assert one.std(axis=0).max() > 1e-3


def test_pixels_of_files_are_those_of_a_store(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = prepare(folder, tmp_path / "s.store", PrepareSettings(size=32, channels=1))
    seen = []
    make = features.make_views

    def watched(*given: object, **options: object) -> object:
        made = make(*given, **options)  # type: ignore[arg-type]
        seen.append(made[0][0])
        return made

    monkeypatch.setattr(features, "make_views", watched)
    embed(encoder, folder, tmp_path / "f.npz", EmbedSettings(batch_size=4))
    assert [len(pixels) for pixels in seen] == [4, 4, 1]
    assert np.array_equal(np.concatenate(seen), store.read(store.rows()))


def test_a_store_gives_its_ids_and_both_formats_hold_the_same(
    tiny_store: Store, encoder: Path, tmp_path: Path
) -> None:
    embed(
        encoder,
        tiny_store,
        tmp_path / "f.parquet",
        EmbedSettings(stages=("stage2", "pooled"), batch_size=7),
    )
    embed(
        encoder,
        tiny_store,
        tmp_path / "f.npz",
        EmbedSettings(stages=("pooled", "stage2"), batch_size=7),
    )
    frame = pd.read_parquet(tmp_path / "f.parquet")
    assert list(frame) == ["id", "patient_id", "stage2", "pooled"]
    assert frame["id"].tolist() == tiny_store.manifest["sample_id"].tolist()
    assert frame["patient_id"].tolist() == tiny_store.manifest["patient_id"].tolist()
    with np.load(tmp_path / "f.npz") as arrays:  # refuses pickles
        assert arrays["id"].tolist() == frame["id"].tolist()
        for stage in ("stage2", "pooled"):
            assert np.array_equal(arrays[stage], np.stack(frame[stage]))
        metadata = json.loads(str(arrays["metadata"]))
    schema = pq.read_schema(tmp_path / "f.parquet")
    assert schema.field("pooled").type.list_size == 96
    assert json.loads(schema.metadata[b"medstrata"]) == metadata
    assert metadata["architecture"] == "test_resnet"
    assert metadata["preprocessing"]["image_size"] == 32
    assert metadata["store"] == tiny_store.digest


def test_many_row_groups_hold_every_row_once(
    tiny_store: Store, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medstrata.inference import feature_file as feature_files

    whole = pd.read_parquet(
        embed(encoder, tiny_store, tmp_path / "whole.parquet", EmbedSettings(batch_size=7))
    )
    monkeypatch.setattr(feature_files, "_GROUP_BYTES", 20 * 96 * 4)
    parts = embed(encoder, tiny_store, tmp_path / "parts.parquet", EmbedSettings(batch_size=7))
    assert pq.ParquetFile(parts).num_row_groups == 3
    pd.testing.assert_frame_equal(whole, pd.read_parquet(parts))


def test_links_out_of_a_folder_are_read_where_that_is_asked_for(
    folder: Path, encoder: Path, tmp_path: Path
) -> None:
    links = tmp_path / "links"
    links.mkdir()
    for path in folder.glob("*.png"):
        (links / path.name).symlink_to(path)
    with pytest.raises(MedstrataError, match="no image could be read"):
        embed(encoder, links, tmp_path / "f.parquet")
    quarantine = (tmp_path / "f.parquet.quarantine.csv").read_text()
    assert quarantine.count("read it by --follow-links true") == len(list(links.iterdir()))
    out = embed(encoder, links, tmp_path / "f.parquet", EmbedSettings(follow_links=True))
    straight = pd.read_parquet(embed(encoder, folder, tmp_path / "g.parquet"))
    files = [path.name for path in folder.glob("*.png")]
    straight = straight[straight["id"].isin(files)].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(out), straight)


def test_unreadable_files_are_named_listed_and_counted(
    folder: Path, encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "images"
    shutil.copytree(folder, copy)
    (copy / "3.png").write_bytes(b"no image")
    (copy / "x.nrrd").write_bytes(b"NRRD")
    out = tmp_path / "f.parquet"
    embed(encoder, copy, out)
    assert len(pd.read_parquet(out)) == 8
    listed = pd.read_csv(tmp_path / "f.parquet.quarantine.csv")
    assert listed.to_dict("records") == [
        {"source": "x.nrrd", "reason": "unsupported format .nrrd"},
        {"source": "3.png", "reason": "not an image"},
    ]
    said = capsys.readouterr().err
    assert "warning: 3.png: not an image" in said
    assert "2 of 10 images could not be read" in said
    words = ["embed", str(encoder), str(copy), "--out", str(out), "--strict"]
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert left.value.code == 1
    embed(encoder, folder, out)  # the list of the file before goes with it
    assert not (tmp_path / "f.parquet.quarantine.csv").exists()
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_nothing_readable_is_a_failure_and_leaves_no_features(
    encoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(MedstrataError, match="no image could be read"):
        embed(encoder, tmp_path / "bad.png", tmp_path / "f.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.png", "f.npz.quarantine.csv"]


@pytest.mark.parametrize("name", ["f.parquet", "f.npz"])
def test_an_interruption_leaves_the_file_as_it_was(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / name).write_bytes(b"before")
    forward_batch, calls = forward.forward_batch, []

    def cut_short(*batch: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return forward_batch(*batch)  # type: ignore[arg-type]

    monkeypatch.setattr(forward, "forward_batch", cut_short)
    with pytest.raises(KeyboardInterrupt):
        embed(encoder, folder, tmp_path / name, EmbedSettings(batch_size=2))
    assert (tmp_path / name).read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_names_come_as_they_are_written_and_silence_is_told() -> None:
    reading, writing = os.pipe()
    names = named_on(reading)
    os.write(writing, b"a b.png\r\n\nc")
    assert next(names).id == "a b.png"  # type: ignore[union-attr]
    assert next(names) is None  # c may go on
    os.write(writing, "ä.png\nlast".encode())
    assert next(names).id == "cä.png"  # type: ignore[union-attr]
    os.close(writing)
    assert [name.id for name in names if name] == ["last"]
    os.close(reading)


def test_memory_holds_a_few_batches_of_a_stream_without_end(
    folder: Path, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named, ahead = [], []
    path = folder / "0.png"

    def endless(_: int) -> object:
        for number in range(80):
            named.append(number)
            yield inputs.ImageFile(str(number), path)

    forward_batch = forward.forward_batch

    def watched(*batch: object) -> object:
        ahead.append(len(named) - 4 * len(ahead))
        return forward_batch(*batch)  # type: ignore[arg-type]

    monkeypatch.setattr(inputs, "named_on", endless)
    monkeypatch.setattr(forward, "forward_batch", watched)
    out = embed(encoder, "-", tmp_path / "f.parquet", EmbedSettings(batch_size=4))
    assert pd.read_parquet(out)["id"].tolist() == [str(number) for number in range(80)]
    assert max(ahead) <= 16


def test_wrong_words_are_errors(folder: Path, encoder: Path, tmp_path: Path) -> None:
    def refused(match: str, *, out: str = "f.npz", **options: object) -> None:
        source = options.pop("source", folder)
        with pytest.raises((MedstrataError, ValueError), match=match):
            embed(encoder, source, tmp_path / out, EmbedSettings(**options))  # type: ignore[arg-type]

    refused("must end in .parquet or .npz", out="f.csv")
    refused("stages must be one or more of stage1, .*, pooled, all, got", stages=("stage9",))
    refused("stages must be one or more of", stages=())
    refused("seed must be 0 or more, got -1", seed=-1)
    refused("does not exist; give a store", source=tmp_path / "none")
    refused("batch_size must be 1 or more, got 0", batch_size=0)
    assert not list(tmp_path.iterdir())


def test_networks_without_a_run_need_no_store(folder: Path, tmp_path: Path) -> None:
    settings = EmbedSettings(image_size=32)
    first, second = (
        np.load(
            embed("scratch", folder, tmp_path / f"{name}.npz", settings, backbone="test_resnet")
        )["pooled"]
        for name in "ab"
    )
    assert np.array_equal(first, second)


@pytest.mark.slow
def test_standard_input_of_the_command(folder: Path, encoder: Path, tmp_path: Path) -> None:
    names = f"{folder / '0.png'}\n{folder / 'deep' / 'b.jpg'}\n"
    subprocess.run(
        [sys.executable, "-m", "medstrata", "embed", encoder, "-", "--out", tmp_path / "f.npz"],
        input=names.encode(),
        check=True,
    )
    with np.load(tmp_path / "f.npz") as arrays:
        assert arrays["id"].tolist() == names.split()


def test_a_name_that_is_no_text_is_written_as_text(tmp_path: Path) -> None:
    """The id of a single file goes into tables; the path still finds the file."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.png"))
    path.touch()
    found = open_inputs(path)
    assert isinstance(found, Files)
    (named,) = found.named
    assert named is not None
    assert named.id == "a\ufffd.png"
    assert named.path == path
