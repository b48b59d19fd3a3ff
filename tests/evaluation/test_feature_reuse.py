"""Feature reuse from a fine-tuned run to its result."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from safetensors.torch import load_file

from medstrata.cli.main import main
from medstrata.data.store.store import Store
from medstrata.evaluation.feature_reuse import mismatched, reuse
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings, ReuseSettings
from medstrata.metrics.cka import MEASURES
from medstrata.models.backbones import Backbone, create_backbone
from medstrata.models.preprocessing import store_statistics
from medstrata.runtime.errors import MedstrataError
from support import plain_similarity as plain

# A network without BatchNorm, whose running statistics would move at any learning rate.
STILL = FinetuneSettings(
    epochs=1, min_steps=1, batch_size=8, lr=1e-9, head="zero", resamples=10, seed=3
)
TUNED = FinetuneSettings(
    epochs=1, min_steps=6, batch_size=8, lr=3e-3, head="zero", keep_statistics_below=0, resamples=10
)
STAGES = ["stage1", "stage2", "stage3", "stage4"]


@pytest.fixture(scope="module")
def tuned(tiny_store: Store, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "run"
    return finetune(str(encoder), tiny_store, "finding", 1.0, out, TUNED)


@pytest.fixture(scope="module")
def found(tiny_store: Store, tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return reuse(
        tuned, tiny_store, tmp_path_factory.mktemp("reuse") / "run", ReuseSettings(subsets=10)
    )


def result(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


def plain_stages(backbone: Backbone, store: Store, ids: list[str]) -> list[plain.Floats]:
    """Globally averaged maps of images by id, without the package's own order or pooling."""
    names = store.manifest["sample_id"].tolist()
    pixels = torch.stack([torch.from_numpy(store[names.index(each)].copy()) for each in ids])
    images = store_statistics(32, 1, store.mean, store.std)(pixels)
    with torch.no_grad():
        maps = backbone.eval()(images).stages.values()
    return [each.double().mean((2, 3)).numpy() for each in maps]


def test_values_are_those_of_the_two_networks_on_the_test_images(
    tiny_store: Store, encoder: Path, tuned: Path, found: Path
) -> None:
    network = create_backbone("test_resnet", in_channels=1, image_size=32)
    predictions = pd.read_parquet(tuned / "predictions.parquet").query("split == 'test'")
    ids = predictions["sample_id"].tolist()
    network.model.load_state_dict(load_file(encoder / "exported" / "backbone.safetensors"))
    before = plain_stages(network, tiny_store, ids)
    model = timm.create_model("test_resnet", num_classes=0, in_chans=1)
    model.load_state_dict(load_file(tuned / "exported" / "backbone.safetensors"))
    network.model = model
    after = plain_stages(network, tiny_store, ids)
    cells = result(found)["cka"]
    for stage, x, y in zip(STAGES, before, after, strict=True):
        for name, kernel in (("linear", plain.linear), ("rbf", plain.rbf)):
            for suffix, debiased in (("", False), ("_debiased", True)):
                expected = plain.cka(kernel(x), kernel(y), debiased=debiased)
                value = cells[name + suffix][stage]["value"]
                assert value == pytest.approx(expected, abs=1e-3), (name, suffix, stage)
                assert value < 0.999
    heatmap = result(found)["heatmap"]
    for key, first, second in (
        ("before_after", before, after),
        ("before", before, before),
        ("after", after, after),
    ):
        expected = [
            [plain.cka(plain.linear(x), plain.linear(y), debiased=True) for y in second]
            for x in first
        ]
        np.testing.assert_allclose(heatmap[key], expected, atol=1e-3)


def test_network_that_hardly_moved_is_its_own_start(tiny_store: Store, tmp_path: Path) -> None:
    run = finetune(
        "scratch", tiny_store, "finding", 0.5, tmp_path / "run", STILL, backbone="test_convnext"
    )
    cells = result(reuse(run, tiny_store, tmp_path / "reuse", ReuseSettings(subsets=10)))["cka"]
    for name in MEASURES:
        for stage in STAGES:
            assert cells[name][stage]["value"] == pytest.approx(1, abs=1e-5), (name, stage)
            assert cells[name][stage]["subset_mean"] == pytest.approx(1, abs=1e-4)
            assert cells[name][stage]["random"] < 0.999, (name, stage)


def test_result_says_what_it_is_of(tiny_store: Store, tuned: Path, found: Path) -> None:
    reused, source = result(found), result(tuned)
    for key in ("arm", "backbone", "store", "store_digest", "task", "fraction", "seed"):
        assert reused[key] == source[key], key
    test = len(tiny_store.rows("test"))
    assert (reused["kind"], reused["protocol"], reused["run"]) == ("reuse", "full", "run")
    assert reused["images"] == test
    assert reused["subsets"] == {"count": 10, "size": test // 2, "seed": 0}
    assert reused["stages"] == STAGES
    assert "legacy" not in reused
    cell = reused["cka"]["linear"]["stage4"]
    assert cell.keys() == {"value", "subset_mean", "subset_sd", "null", "random"}
    assert cell["null"]["mean"] < cell["null"]["high"] < cell["subset_mean"]
    # Few images: the biased form has a high null, the debiased one is spread about zero.
    assert cell["null"]["mean"] > 0.2
    assert abs(reused["cka"]["linear_debiased"]["stage4"]["null"]["mean"]) < 0.3


def test_the_start_may_have_been_moved_but_not_changed(
    encoder: Path, tiny_store: Store, found: Path, tmp_path: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(encoder, before)
    run = finetune(before, tiny_store, "finding", 1.0, tmp_path / "run", TUNED)
    before.rename(after)
    with pytest.raises(MedstrataError, match="name the place where it is now with --encoder"):
        reuse(run, tiny_store, tmp_path / "reuse")
    assert not (tmp_path / "reuse").exists()
    settings = ReuseSettings(subsets=10)
    again = reuse(run, tiny_store, tmp_path / "reuse", settings, encoder=after)
    assert result(again)["cka"] == result(found)["cka"]
    with pytest.raises(MedstrataError, match="was fitted on another encoder than"):
        reuse(run, tiny_store, tmp_path / "other", settings, encoder=run)


def test_seed_decides_everything(
    tiny_store: Store, tuned: Path, found: Path, tmp_path: Path
) -> None:
    again = result(
        reuse(tuned, tiny_store, tmp_path / "again", ReuseSettings(subsets=10, legacy=True))
    )
    assert again["cka"] == result(found)["cka"]
    assert list(again["legacy"]) == STAGES
    other = result(
        reuse(
            tuned, tiny_store, tmp_path / "other", ReuseSettings(subsets=10, seed=1, max_images=12)
        )
    )
    assert (other["images"], other["subsets"]["size"]) == (12, 6)
    for key in ("subset_mean", "null", "random"):
        assert other["cka"]["rbf"]["stage3"][key] != again["cka"]["rbf"]["stage3"][key], key


def test_runs_that_cannot_be_compared_are_refused(
    tiny_store: Store, encoder: Path, tuned: Path, tmp_path: Path
) -> None:
    def refused(run: Path, store: Store, match: str) -> None:
        with pytest.raises(MedstrataError, match=match):
            reuse(run, store, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    frozen = finetune(
        str(encoder),
        tiny_store,
        "finding",
        1.0,
        tmp_path / "frozen",
        replace(TUNED, protocol="frozen"),
    )
    refused(frozen, tiny_store, "kept the encoder frozen")
    refused(
        encoder,
        tiny_store,
        "is a run of another kind, or has lost files; give a finished fine-tuning run",
    )
    refused(tmp_path, tiny_store, "is not a run folder; give a finished fine-tuning run")
    for damage, match in ((b"x" * 100, "does not hold this network"), (None, "no fine-tuned")):
        copy = tmp_path / f"copy-{match.split()[0]}"
        shutil.copytree(tuned, copy)
        weights = copy / "exported" / "backbone.safetensors"
        weights.write_bytes(damage) if damage else weights.unlink()
        refused(copy, tiny_store, match)
    copy = tmp_path / "elsewhere"
    shutil.copytree(tuned, copy)
    (copy / "result.json").write_text(
        json.dumps(result(tuned) | {"store_digest": "another"}), encoding="utf-8"
    )
    refused(copy, tiny_store, "give the store it was tuned on")


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [("subset_size", 3, "4 or more"), ("subsets", 1, "2 or more"), ("max_images", 7, "8 or more")],
)
def test_settings_out_of_range_are_refused(name: str, value: int, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be {allowed}, got {value}"):
        ReuseSettings(**{name: value})  # type: ignore[arg-type]


def test_finished_run_is_left_alone(tiny_store: Store, tuned: Path, found: Path) -> None:
    before = (found / "result.json").read_bytes()
    reuse(tuned, tiny_store, found, ReuseSettings(subsets=10), resume=True)
    assert (found / "result.json").read_bytes() == before
    with pytest.raises(MedstrataError, match="already holds a run"):
        reuse(tuned, tiny_store, found, ReuseSettings(subsets=10))
    with pytest.raises(MedstrataError, match="other settings"):
        reuse(tuned, tiny_store, found, ReuseSettings(subsets=11), resume=True)


def test_command(
    tiny_store: Store, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "reuse"
    main(["reuse", str(tuned), str(tiny_store.path), "--out", str(out), "--subset-size", "5"])
    assert result(out)["subsets"] == {"count": 50, "size": 5, "seed": 0}
    assert "similarity before and after fine-tuning" in capsys.readouterr().err
    with pytest.raises(SystemExit) as left:
        main(["reuse", str(tmp_path), str(tiny_store.path), "--out", str(tmp_path / "none")])
    assert left.value.code == 1


@pytest.mark.parametrize("sizes", [[1] * 9, [3, 3, 3], [4, 2, 2, 1, 1], [5, 5], [1, 1, 7, 9]])
def test_mismatched_rows_meet_other_patients(sizes: list[int]) -> None:
    patients = np.repeat(np.arange(len(sizes)), sizes)[
        np.random.default_rng(0).permutation(sum(sizes))
    ]
    orders = [mismatched(patients, 0, draw) for draw in range(200)]
    assert all(order is not None for order in orders)
    drawn = np.stack([order for order in orders if order is not None])
    assert (np.sort(drawn, axis=1) == np.arange(len(patients))).all()
    assert (patients[drawn] != patients).all()
    if sizes == [1, 1, 7, 9]:  # the nine meet the other nine, and these the nine
        return
    # Every row meets every row of other patients sooner or later.
    for row, patient in enumerate(patients):
        assert set(drawn[:, row]) == set(np.flatnonzero(patients != patient))


def test_a_patient_with_most_images_leaves_no_null() -> None:
    assert mismatched(np.array([0, 0, 0, 1, 2]), 0) is None
