"""After a public call, and after an error in one, the caller's process is as it was."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState, PartialState

import medstrata as ms
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import load_classifier
from medstrata.runtime.process_state import preserve_process_state

PRETRAINED = ms.recipe(
    "fair/moco",
    backbone="resnet10t",
    epochs=1,
    batch_size=4,
    precision="fp32",
    contrastive={"queue_size": 20},
)
TUNED = ms.FinetuneSettings(epochs=1, min_steps=1, batch_size=8, resamples=2)
SCRATCH = {"backbone": "resnet10t"}


def snapshot() -> dict[str, Any]:
    """What the process has one of, whoever calls."""
    accelerate = (AcceleratorState, GradientState, PartialState)
    return {
        "torch generator": torch.get_rng_state().tolist(),
        "torch threads": torch.get_num_threads(),
        "torch settings": (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.is_autocast_enabled("cpu"),
        ),
        "numpy generator": np.random.get_state()[1].tolist(),  # noqa: NPY002  (what others draw from)
        "accelerate": [dict(kind._shared_state) for kind in accelerate],
        "environment": dict(os.environ),
        "cv2 threads": cv2.getNumThreads(),
        "folder": Path.cwd(),
    }


def public_calls(store: Store, folder: Path) -> dict[str, Callable[[], object]]:
    """Each public function that passes images through a network, after what it needs."""
    run, tuned = folder / "run", folder / "tuned"
    probed, atlas = ms.ProbeSettings(resamples=2), ms.AtlasSettings(images=10)
    return {
        "pretrain": lambda: ms.pretrain(store, PRETRAINED, run, profile=True),
        "finetune": lambda: ms.finetune(run, store, "finding", 1.0, tuned, TUNED),
        "probe": lambda: ms.probe(
            "scratch", store, "finding", folder / "probe", settings=probed, **SCRATCH
        ),
        "atlas": lambda: ms.atlas("scratch", store, "finding", folder / "atlas", atlas, **SCRATCH),
        "reuse": lambda: ms.reuse(tuned, store, folder / "reuse", ms.ReuseSettings(subsets=2)),
        "embed": lambda: ms.embed("scratch", store, folder / "features.npz", **SCRATCH),
        "predict": lambda: ms.predict(tuned, store, folder / "predictions.csv"),
        "load_classifier": lambda: load_classifier(tuned),
        "export": lambda: ms.export(tuned, "timm", folder / "exported"),
        "import_weights": lambda: ms.import_weights(
            run / "exported" / "backbone.safetensors", folder / "bare", backbone="resnet10t"
        ),
        "write_report": lambda: ms.write_report([folder], folder / "report.html"),
    }


def test_public_calls_leave_the_process_as_it_was(tiny_store: Store, tmp_path: Path) -> None:
    for name, call in public_calls(tiny_store, tmp_path).items():
        before = snapshot()
        call()
        after = snapshot()
        changed = [one for one in before if before[one] != after[one]]
        assert not changed, f"{name} changed the {' and the '.join(changed)}"


def test_an_accelerator_of_the_callers_goes_on(tiny_store: Store, tmp_path: Path) -> None:
    with preserve_process_state():
        AcceleratorState._reset_state(reset_partial_state=True)
        own = Accelerator(cpu=True, mixed_precision="bf16", gradient_accumulation_steps=2)
        before = snapshot()
        ms.pretrain(tiny_store, PRETRAINED, tmp_path / "run")
        assert snapshot() == before
        assert own.mixed_precision == "bf16"
        assert own.gradient_accumulation_steps == 2
        assert Accelerator(cpu=True, mixed_precision="bf16").mixed_precision == "bf16"


@preserve_process_state()
def change_and_fail() -> None:
    torch.manual_seed(0)
    Accelerator(cpu=True)
    os.environ["NAMED_HERE"] = "1"
    del os.environ["NAMED_BEFORE"]
    raise ZeroDivisionError


def test_the_process_is_given_back_after_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMED_BEFORE", "1")
    before = snapshot()
    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert snapshot() == before
