"""What limits a run, in words, and what the words rest on."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medstrata.pretraining.profile.bottleneck import (
    LOOP,
    WAITING,
    StepMeasurements,
    explain,
    main_limit,
)
from medstrata.pretraining.profile.roofline import Roofline, measure_roofline
from medstrata.pretraining.profile.trace import PYTHON, _sum_up, as_shares
from medstrata.runtime.memory import Memory

ROOFLINE = Roofline(
    device="cpu",
    threads=2,
    product={"fp32": 100.0, "bf16": 200.0},
    convolution={"fp32": {"one": 80.0}, "bf16": {"one": 400.0}},
    copy_gb_per_s=10.0,
)
SEEN = StepMeasurements(
    on_gpu=False,
    batch_size=10,
    step_seconds=0.5,
    shares={WAITING: 0.01, "convolutions": 0.6, "BatchNorm": 0.3, PYTHON: 0.05, LOOP: 0.04},
    precision="bf16",
    flop=100e9,
    ceiling=ROOFLINE,
    loader_rate=1000.0,
    loader_rate_per_core=500.0,
    cores=2.0,
    threads=2,
    own_cores=1.9,
    other_cores=0.05,
    memory=Memory(2.0, 16.0),
)


def sentence(seen: StepMeasurements, about: str) -> str:
    (found,) = (one for one in explain(seen) if one.startswith(f"{about}:"))
    return found


def waiting(seen: StepMeasurements, share: float, part: str = WAITING) -> StepMeasurements:
    rest = 1 - share
    scaled = {name: value * rest for name, value in seen.shares.items()}
    return replace(seen, shares={**scaled, part: scaled[part] + share})


def test_quiet_run_is_limited_by_its_device() -> None:
    assert main_limit(SEEN) == "device"
    assert "50% of the 400 GFLOP/s" in sentence(SEEN, "device")
    assert "Nothing to gain here" in sentence(SEEN, "data")


def test_waiting_is_a_limit_of_data() -> None:
    slow = waiting(SEEN, 0.3)
    assert main_limit(slow) == "data"
    assert explain(slow)[:2] == ["limit: data", sentence(slow, "data")]
    assert "smaller size" in sentence(slow, "data")


def test_python_is_a_limit_of_the_cpu() -> None:
    slow = waiting(SEEN, 0.4, PYTHON)
    assert main_limit(slow) == "CPU"
    assert "--batch-size" in sentence(slow, "CPU")


@pytest.mark.parametrize(
    ("change", "limit"),
    [
        ({"other_cores": 1.0, "own_cores": 1.0}, "CPU"),
        ({"other_cores": 1.0, "own_cores": 1.0, "cores": 8.0}, "device"),
        ({"threads": 4}, "CPU"),
        ({"threads": 4, "on_gpu": True}, "device"),
    ],
)
def test_cores_that_others_take(change: dict[str, object], limit: str) -> None:
    assert main_limit(replace(SEEN, **change)) == limit  # type: ignore[arg-type]


def test_advice_on_precision_loader_and_memory() -> None:
    assert "4.0 times as fast here: --precision auto" in sentence(
        replace(SEEN, precision="fp32"), "device"
    )
    costly = replace(SEEN, loader_rate_per_core=25.0)
    assert costly.loader_share == pytest.approx(20 / 25 / 2)
    assert "40% of the processor time" in sentence(costly, "data")
    assert "--accumulate" in sentence(replace(SEEN, memory=Memory(15.0, 16.0)), "memory")
    assert "Nearly full" not in sentence(SEEN, "memory")
    assert "16.0 GiB" in sentence(replace(SEEN, memory=Memory(None, 16.0)), "memory")


def test_shares_add_up_and_name_the_remainder() -> None:
    assert as_shares({"a": 1.0, "b": 2.0}, 4.0) == {"a": 0.25, "b": 0.5, PYTHON: 0.25}
    overlapping = as_shares({"a": 3.0, "b": 2.0}, 4.0)
    assert sum(overlapping.values()) == pytest.approx(1)
    assert overlapping[PYTHON] == pytest.approx(0)


def test_ceiling_of_this_device_leaves_random_state_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medstrata.pretraining.profile.roofline._SIDE", {"cpu": 64})
    monkeypatch.setattr("medstrata.pretraining.profile.roofline._IMAGES", {"cpu": 1})
    monkeypatch.setattr("medstrata.pretraining.profile.roofline._COPIED_MIB", {"cpu": 1})
    before = torch.get_rng_state()
    found = measure_roofline(torch.device("cpu"), repeats=1)
    assert torch.equal(before, torch.get_rng_state())
    assert found.product.keys() == found.convolution.keys() >= {"fp32"}
    assert min(found.copy_gb_per_s, *found.product.values()) > 0
    assert found.best("fp32") >= max(found.convolution["fp32"].values())


def test_emulated_precision_is_measured_by_what_the_device_has() -> None:
    bare = replace(ROOFLINE, product={"fp32": 100.0}, convolution={"fp32": {"one": 80.0}})
    assert bare.best("bf16") == 100
    words = sentence(replace(SEEN, ceiling=bare), "device")
    assert "bf16 is emulated here, many times slower: --precision auto" in words
    assert "GFLOP/s" not in words


def kernel(name: str, micros: float, **more: Any) -> SimpleNamespace:
    given = {"name": name, "self_device_time_total": micros, "self_cpu_time_total": 5.0,
             "device_type": SimpleNamespace(name="CPU"), "is_user_annotation": False,
             "cpu_parent": None, "sequence_nr": -1, "kernels": []}  # fmt: skip
    return SimpleNamespace(**{**given, **more})


def test_kernels_of_a_gpu_are_counted_once() -> None:
    """PyTorch lists each with the operation that started it, and again by itself."""
    cuda = SimpleNamespace(name="CUDA")
    own = [SimpleNamespace(name="triton_convolution_1")]
    events = [
        kernel("aten::cudnn_convolution", 1000.0),
        kernel("sm90_xmma_fprop_implicit_gemm", 1000.0, device_type=cuda),
        kernel("aten::mm", 400.0),
        kernel("sm90_gemm", 400.0, device_type=cuda),
        kernel("Torch-Compiled Region", 100.0, is_user_annotation=True, kernels=own),
        kernel("triton_convolution_1", 100.0, device_type=cuda),
        kernel("an annotation", 50.0, is_user_annotation=True),
    ]
    parts = _sum_up(events, cuda=True)
    assert parts == pytest.approx({"convolutions": 1.1e-3, "products (heads, linear layers)": 4e-4})
