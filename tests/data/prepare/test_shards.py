"""Shards are the same whatever the workers, and after an interruption go on to the same end."""

import signal
import subprocess
import sys

import numpy as np
import pytest

from medstrata.data.prepare import shards
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.open import open_store
from medstrata.runtime.errors import MedstrataError
from support.prepared import contents


@pytest.mark.usefixtures("small_shards")
@pytest.mark.parametrize("workers", [1, 7])
def test_workers_change_nothing(image_folder, tmp_path, workers):
    settings = PrepareSettings(labels=image_folder / "labels.csv", size=16, fit="crop")
    prepare(image_folder, tmp_path / "one", settings, workers=3)
    prepare(image_folder, tmp_path / "other", settings, workers=workers)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


@pytest.mark.usefixtures("small_shards")
def test_interrupted_goes_on_and_ends_the_same(image_folder, tmp_path, monkeypatch):
    settings = PrepareSettings(labels=image_folder / "labels.csv")
    (image_folder / "images" / "bad.png").write_bytes(b"")
    prepare(image_folder, tmp_path / "whole", settings, workers=2)
    decode, seen = shards._decode, []

    def breaking(sources, first, *given):
        if sources.files[first].endswith("030.png") and not seen:
            seen.append(first)
            raise KeyboardInterrupt
        return decode(sources, first, *given)

    monkeypatch.setattr(shards, "_decode", breaking)
    with pytest.raises(KeyboardInterrupt):
        prepare(image_folder, tmp_path / "broken", settings, workers=2)
    done = sorted(path.name for path in (tmp_path / "broken" / "parts").glob("*.parquet"))
    assert 0 < len(done) < 5
    with pytest.raises(MedstrataError, match="unfinished: run the same prepare command again"):
        open_store(tmp_path / "broken")
    (tmp_path / "broken" / ".images-00009.npy.1.tmp").write_bytes(b"half")
    read = []
    monkeypatch.setattr(shards, "_decode", lambda *given: read.append(given[1]) or decode(*given))
    prepare(image_folder, tmp_path / "broken", settings, workers=2)
    assert len(read) == 49 - 10 * len(done)
    assert contents(tmp_path / "whole") == contents(tmp_path / "broken")


@pytest.mark.usefixtures("small_shards")
def test_killed_goes_on_and_ends_the_same(image_folder, tmp_path):
    prepare(image_folder, tmp_path / "whole", PrepareSettings(size=16, channels=1))
    code = (
        "import os, signal, sys\n"
        "from itertools import count\n"
        "from medstrata.data.prepare import decode\n"
        "from medstrata.data.prepare.prepare import prepare\n"
        "from medstrata.data.prepare.settings import PrepareSettings\n"
        "decode.SHARD_ROWS = 10\n"
        "read, number = decode.read_images, count()\n"
        "def read_or_die(*given):\n"
        "    if next(number) == 25:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(*given)\n"
        "decode.read_images = read_or_die\n"
        "prepare(*sys.argv[1:], PrepareSettings(size=16, channels=1), workers=1)\n"
    )
    out = tmp_path / "killed"
    ran = subprocess.run([sys.executable, "-c", code, image_folder, out], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert len(list(out.glob("parts/*.parquet"))) == 2
    prepare(image_folder, out, PrepareSettings(size=16, channels=1))
    assert contents(tmp_path / "whole") == contents(out)


def test_full_disk_is_one_line_and_goes_on(image_folder, tmp_path, monkeypatch):
    save = np.save

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(MedstrataError, match="cannot be written: No space left on device;"):
        prepare(image_folder, tmp_path / "out")
    monkeypatch.setattr(np, "save", save)
    assert len(prepare(image_folder, tmp_path / "out")) == 48
    assert not list((tmp_path / "out").glob(".*"))
