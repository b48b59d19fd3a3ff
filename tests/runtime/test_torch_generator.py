"""Whatever a public call seeds and draws, the caller's torch generator stands where it stood."""

from pathlib import Path

import pytest
import torch

import medstrata as ms
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import load_classifier
from medstrata.runtime.randomness import Stream
from medstrata.runtime.torch_generator import seed_initial_weights, torch_generators_kept

PRETRAINED = ms.recipe(
    "fair/moco",
    backbone="resnet10t",
    epochs=1,
    batch_size=8,
    contrastive={"queue_size": 20, "key_sub_batches": 2},
)
TUNED = ms.FinetuneSettings(epochs=1, min_steps=1, batch_size=8, resamples=2)
SCRATCH = {"backbone": "resnet10t"}


def test_public_calls_leave_the_callers_generator(tiny_store: Store, tmp_path: Path) -> None:
    run, tuned = tmp_path / "run", tmp_path / "tuned"
    probed, atlas = ms.ProbeSettings(resamples=2), ms.AtlasSettings(images=10)
    calls = {
        "pretrain": lambda: ms.pretrain(tiny_store, PRETRAINED, run),
        "finetune": lambda: ms.finetune(run, tiny_store, "finding", 1.0, tuned, TUNED),
        "probe": lambda: ms.probe(
            "scratch", tiny_store, "finding", tmp_path / "probe", settings=probed, **SCRATCH
        ),
        "atlas": lambda: ms.atlas(
            "scratch", tiny_store, "finding", tmp_path / "atlas", atlas, **SCRATCH
        ),
        "reuse": lambda: ms.reuse(
            tuned, tiny_store, tmp_path / "reuse", ms.ReuseSettings(subsets=2)
        ),
        "embed": lambda: ms.embed("scratch", tiny_store, tmp_path / "features.npz", **SCRATCH),
        "load_classifier": lambda: load_classifier(tuned),
        "export": lambda: ms.export(tuned, "timm", tmp_path / "exported"),
    }
    moved = []
    for name, call in calls.items():
        before = torch.get_rng_state()
        call()
        if not torch.equal(before, torch.get_rng_state()):
            moved.append(name)
    assert not moved


@torch_generators_kept()
def seed_and_fail() -> None:
    seed_initial_weights(Stream.WEIGHTS, 0)
    raise ZeroDivisionError


def test_the_generator_is_given_back_after_an_error_too() -> None:
    before = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        seed_and_fail()
    assert torch.equal(before, torch.get_rng_state())
