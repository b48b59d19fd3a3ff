"""A benchmark of steps holds all it promises, and refuses what cannot be measured."""

import json
from pathlib import Path

import pytest

from medstrata.data.store.store import Store
from medstrata.pretraining.bench import bench
from medstrata.pretraining.bench_settings import BenchSettings
from medstrata.runtime.errors import MedstrataError

pytestmark = pytest.mark.usefixtures("small_roofline")


def test_bench_measures_all_it_promises(tiny_store: Store, tmp_path: Path) -> None:
    case = BenchSettings(
        backbone="resnet10t", size=32, batch_size=8, steps=2, store=str(tiny_store.path), epochs=3
    )
    result = bench(case, tmp_path / "bench.json")
    assert json.loads((tmp_path / "bench.json").read_text()).keys() == result.keys()
    assert result["steps"].keys() == {"fair/moco", "fair/moco_mse", "fair/moco_bt"}
    images = len(tiny_store.rows("train"))
    for name, step in result["steps"].items():
        assert len(step["turns"]) == 2
        assert step["ceiling_share"] > 0
        estimate = result["estimate"][name]
        assert estimate["images"] == images
        assert estimate["steps"] == 3 * (images // 8)
        seen = 8 * estimate["steps"]
        assert estimate["hours"] == pytest.approx(seen / estimate["samples_per_s"] / 3600)
        # The loader and the step share the cores of a CPU.
        assert estimate["samples_per_s"] < step["samples_per_s"]
    assert result["steps"]["fair/moco_bt"]["gflop"] > result["steps"]["fair/moco"]["gflop"]


def test_bench_refuses_what_cannot_be_measured(tiny_store: Store) -> None:
    with pytest.raises(MedstrataError, match="batch size 64 is larger than"):
        bench(BenchSettings(backbone="resnet10t", batch_size=64, store=str(tiny_store.path)))
    with pytest.raises(ValueError, match="steps must be 1 or more, got 0"):
        BenchSettings(steps=0)
    with pytest.raises(ValueError, match="no recipe 'fair/mocco'; there are recommended"):
        BenchSettings(recipes=("fair/mocco",))
