"""A run that is watched trains as any other; what was seen adds up."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from medstrata.data.store.store import Store
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.profile.trace import INTERMEDIATE, NCE, UPDATES
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.settings import PretrainSettings
from support.runs import assert_equal_states, final_state, records, without_times

pytestmark = pytest.mark.usefixtures("small_roofline")


def small(epochs: int = 3) -> PretrainSettings:
    return recipe(
        "fair/moco_bt",
        backbone="resnet10t",
        epochs=epochs,
        batch_size=8,
        precision="fp32",
        contrastive={"queue_size": 20},
        intermediate={"projector_size": 64},
    )


def test_profile_changes_nothing_and_adds_up(tiny_store: Store, tmp_path: Path) -> None:
    plain = pretrain(tiny_store, small(), tmp_path / "plain")
    random_state = torch.get_rng_state()
    watched = pretrain(tiny_store, small(), tmp_path / "watched", profile=True)
    assert torch.equal(random_state, torch.get_rng_state())
    assert_equal_states(final_state(plain), final_state(watched))
    assert without_times(plain) == without_times(watched)
    assert not (plain / "profile.json").exists()
    assert (plain / "config.yaml").read_text() == (watched / "config.yaml").read_text()
    seen: dict[str, Any] = json.loads((watched / "profile.json").read_text())
    assert sum(seen["shares"].values()) == pytest.approx(1)
    assert all(share >= -1e-9 for share in seen["shares"].values())
    assert {"convolutions", "BatchNorm", INTERMEDIATE, NCE, UPDATES} <= seen["shares"].keys()
    assert seen["samples_per_s"] == pytest.approx(8 / seen["step_seconds"])
    assert seen["flop"] > 1e7
    assert seen["loader_rate"] > 0


def test_run_too_short_to_profile_says_so(
    tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = recipe(
        "fair/moco", backbone="resnet10t", epochs=1, batch_size=16, contrastive={"queue_size": 8}
    )
    run = pretrain(tiny_store, settings, tmp_path / "run", profile=True)
    assert "too few steps" in capsys.readouterr().err
    assert not (run / "profile.json").exists()


def test_waiting_is_in_the_metrics_also_where_checkpoints_fall(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medstrata.data import loader

    take = loader.Prefetched.__next__

    def slow(self: loader.Prefetched) -> Any:
        batch = take(self)
        self.waited_s += 1000.0
        return batch

    monkeypatch.setattr(loader.Prefetched, "__next__", slow)
    settings = recipe(
        "fair/moco", backbone="resnet10t", epochs=1, batch_size=8, checkpoint_every=1,
        contrastive={"queue_size": 20},
    )  # fmt: skip
    run = pretrain(tiny_store, settings, tmp_path / "run")
    for step in records(run, "step"):
        time = step["time"]
        assert time["data_wait"] * 8 / time["samples_per_s"] == pytest.approx(1000, rel=1e-3)
