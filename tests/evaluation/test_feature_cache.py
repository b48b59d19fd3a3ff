"""Features that were computed before serve again, and only where they are the same."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import replace
from pathlib import Path
from threading import Event

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.numpy import load_file, save_file

from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from medstrata.evaluation import feature_cache
from medstrata.evaluation.feature_cache import evaluation_features
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.probe import probe
from medstrata.evaluation.seeded_encoder import seeded_encoder
from medstrata.evaluation.settings import FinetuneSettings, ProbeSettings
from medstrata.models.encoders import LoadedEncoder
from medstrata.models.features import StoredFeatures
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream
from support.resealed import reseal
from support.waiting import PATIENCE_S

CPU = torch.device("cpu")


def encoder(store: Store, seed: int = 0) -> LoadedEncoder:
    return seeded_encoder(
        EncoderSpec("scratch"),
        store,
        backbone="test_resnet",
        image_size=0,
        random_state=TorchRandomState(Stream.EVALUATED_WEIGHTS, seed),
    )


def assert_same(first: StoredFeatures, second: StoredFeatures) -> None:
    assert np.array_equal(first.rows, second.rows)
    assert list(first.layers()) == list(second.layers())
    for one, other in zip(first.layers().values(), second.layers().values(), strict=True):
        assert one.dtype == np.float32
        assert np.array_equal(one, other)


def kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


@pytest.mark.parametrize("fraction", [0.5, 1.0])
def test_scores_are_the_same_with_and_without(
    tiny_store: Store, tmp_path: Path, fraction: float
) -> None:
    frozen = FinetuneSettings(protocol="frozen", resamples=20)
    for name, features in {"without": None, "first": "cache", "second": "cache"}.items():
        folder = None if features is None else tmp_path / features
        options = {"backbone": "test_resnet", "features": folder}
        finetune(
            "scratch", tiny_store, "grade", fraction, tmp_path / f"tuned-{name}", frozen, **options
        )  # type: ignore[arg-type]
        probe(
            "scratch",
            tiny_store,
            "grade",
            tmp_path / f"probed-{name}",
            fraction=fraction,
            settings=ProbeSettings(resamples=20),
            **options,
        )  # type: ignore[arg-type]
    assert len(kept(tmp_path / "cache")) == 1  # the same random encoder
    for kind in ("tuned", "probed"):
        without, first, second = (
            pd.read_parquet(tmp_path / f"{kind}-{name}" / "predictions.parquet")
            for name in ("without", "first", "second")
        )
        pd.testing.assert_frame_equal(without, first, check_exact=True)
        pd.testing.assert_frame_equal(without, second, check_exact=True)


def test_features_are_those_of_all_labelled_images(tiny_store: Store, tmp_path: Path) -> None:
    features = evaluation_features(encoder(tiny_store), tiny_store, CPU, None)
    assert features.rows.tolist() == tiny_store.rows().tolist()
    shutil.copytree(tiny_store.path, tmp_path / "fewer.store")
    frame = tiny_store.manifest.copy()
    # Of two images nothing is known: one of the training images, which standardise all the same.
    trained, tested = (int(tiny_store.rows(split)[3]) for split in ("train", "test"))
    for number, column in enumerate(name for name in frame if name.startswith("label.")):
        partly = int(tiny_store.rows("test")[number])  # of these one thing is known
        frame.loc[[partly, trained, tested], column] = pd.NA
    frame.to_parquet(tmp_path / "fewer.store" / "manifest.parquet", index=False)
    reseal(tmp_path / "fewer.store")
    fewer = evaluation_features(
        encoder(tiny_store), open_store(tmp_path / "fewer.store"), CPU, None
    )
    assert fewer.rows.tolist() == [row for row in range(60) if row != tested]


def test_nothing_is_extracted_twice(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path / "new" / "cache")

    def refused(*_: object, **__: object) -> StoredFeatures:
        raise AssertionError("extracted again")

    monkeypatch.setattr(feature_cache, "extract_features", refused)
    again = evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path / "new" / "cache")
    assert_same(first, again)


def test_whatever_decides_the_features_has_a_file_of_its_own(tiny_store: Store) -> None:
    loaded = encoder(tiny_store)
    names = {feature_cache._digest(loaded, tiny_store, CPU)}
    names.add(feature_cache._digest(encoder(tiny_store, seed=1), tiny_store, CPU))
    names.add(feature_cache._digest(loaded, tiny_store, torch.device("cuda")))
    other = replace(loaded.preprocessing, std=(0.5,))
    names.add(feature_cache._digest(loaded._replace(preprocessing=other), tiny_store, CPU))
    names.add(feature_cache._digest(loaded._replace(architecture="resnet18"), tiny_store, CPU))
    loaded.backbone.model.layer4[0].bn1.running_mean += 1  # a buffer, not a weight
    names.add(feature_cache._digest(loaded, tiny_store, CPU))
    another = copy(tiny_store)
    another.digest = "another"
    names.add(feature_cache._digest(loaded, another, CPU))
    assert len(names) == 7


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def garble(path: Path) -> None:
    path.write_bytes(b"not tensors at all")


def drop_a_stage(path: Path) -> None:
    arrays = load_file(path)
    del arrays["stage2"]
    save_file(arrays, path)


def shift_the_rows(path: Path) -> None:
    arrays = load_file(path)
    save_file({**arrays, "rows": arrays["rows"] + 1}, path)


def narrow(path: Path) -> None:
    arrays = load_file(path)
    save_file({**arrays, "pooled": np.ascontiguousarray(arrays["pooled"][:, 1:])}, path)


def halve(path: Path) -> None:
    arrays = load_file(path)
    save_file({**arrays, "pooled": arrays["pooled"].astype(np.float16)}, path)


@pytest.mark.parametrize("damage", [cut, garble, drop_a_stage, shift_the_rows, narrow, halve])
def test_a_damaged_file_is_made_again(
    tiny_store: Store,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[Path], None],
) -> None:
    sound = evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path)
    (file,) = kept(tmp_path)
    damage(file)
    assert_same(sound, evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path))
    assert f"warning: {file} is damaged" in capsys.readouterr().err
    assert_same(sound, evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path))
    assert not capsys.readouterr().err


def test_an_interrupted_extraction_leaves_nothing(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(_: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(feature_cache, "save_file", cut_short)
    with pytest.raises(KeyboardInterrupt):
        evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path)
    assert [path.suffix for path in tmp_path.iterdir()] in ([], [".lock"])
    monkeypatch.undo()
    evaluation_features(encoder(tiny_store), tiny_store, CPU, tmp_path)
    assert len(kept(tmp_path)) == 1


def test_of_two_at_once_one_extracts_and_the_other_waits(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extract, calls, said = feature_cache.extract_features, [], Event()

    def slow(*arguments: object, **options: object) -> StoredFeatures:
        calls.append(1)
        if len(calls) > 1:
            said.set()
        assert said.wait(PATIENCE_S)
        return extract(*arguments, **options)  # type: ignore[arg-type]

    def say(words: str) -> None:
        if "waiting for another process" in words:
            said.set()

    monkeypatch.setattr(feature_cache, "extract_features", slow)
    monkeypatch.setattr(feature_cache, "say", say)
    monkeypatch.setattr(feature_cache, "_PATIENCE_S", 0.1)
    loaded = [encoder(tiny_store), encoder(tiny_store)]
    with ThreadPoolExecutor(2) as executor:
        first, second = executor.map(
            lambda one: evaluation_features(one, tiny_store, CPU, tmp_path), loaded
        )
    assert len(calls) == 1
    assert_same(first, second)


def test_statistics_and_mode_stay(tiny_store: Store, tmp_path: Path) -> None:
    loaded = encoder(tiny_store)
    loaded.backbone.train()
    before = {key: value.clone() for key, value in loaded.backbone.state_dict().items()}
    evaluation_features(loaded, tiny_store, CPU, tmp_path)
    assert loaded.backbone.training
    for key, value in loaded.backbone.state_dict().items():
        assert torch.equal(before[key], value), key
