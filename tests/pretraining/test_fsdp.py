"""Split weights train as whole ones do, in two processes on a CPU."""

import signal
from pathlib import Path

import pytest
import torch

from medstrata.cli.main import main
from medstrata.data.store.store import Store
from support.runs import assert_equal_states, final_state
from support.two_processes import LAUNCH, ONE_THREAD, OPTIONS, on_two
from support.waiting import PATIENCE_S, started, wait_until


@pytest.mark.slow
def test_split_weights_train_as_whole_ones_do(tiny_store: Store, tmp_path: Path) -> None:
    on_two(tiny_store, tmp_path / "whole")
    on_two(tiny_store, tmp_path / "split", "--shard=true")
    whole, split = (final_state(tmp_path / name)["model"] for name in ("whole", "split"))
    assert whole.keys() == split.keys()
    for key, value in whole.items():
        torch.testing.assert_close(split[key], value, atol=2e-6, rtol=1e-4)
    kept = [tmp_path / name / "exported" / "backbone.safetensors" for name in ("whole", "split")]
    assert kept[0].stat().st_size == kept[1].stat().st_size


@pytest.mark.slow
def test_split_weights_go_on_from_a_checkpoint(tiny_store: Store, tmp_path: Path) -> None:
    on_two(tiny_store, tmp_path / "unbroken", "--shard=true")
    out = tmp_path / "cut"
    launcher = [str(LAUNCH / "torchrun.sh"), "2", str(tiny_store.path), str(out)]
    with started([*launcher, *OPTIONS, "--shard=true"], env=ONE_THREAD) as running:
        wait_until(lambda: list(out.glob("checkpoints/step-*.pt")), running)
        running.send_signal(signal.SIGTERM)
        assert running.wait(timeout=PATIENCE_S) != 0
    assert not (out / "result.json").exists()
    on_two(tiny_store, out, "--shard=true")
    assert_equal_states(final_state(tmp_path / "unbroken"), final_state(out))


def test_split_weights_need_several_processes(
    tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["pretrain", str(tiny_store.path), "--out", str(tmp_path / "run"), *OPTIONS]
    with pytest.raises(SystemExit) as left:
        main([*words, "--shard=true"])
    assert left.value.code == 1
    assert "start them with torchrun" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
