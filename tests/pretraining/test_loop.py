"""Pre-training runs: what they write, in which order, cut and resumed."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import yaml
from accelerate import Accelerator
from safetensors.torch import load_file

from medstrata.data.store.store import Store
from medstrata.pretraining.build import Training, build
from medstrata.pretraining.loop import pretrain, train, training_step
from medstrata.pretraining.recipes import recipe
from medstrata.pretraining.schedule import lr_factor
from medstrata.pretraining.settings import PretrainSettings
from medstrata.pretraining.sizing import resolve, training_rows
from medstrata.runs.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from medstrata.runtime.errors import MedstrataError
from support.runs import assert_equal_states, final_state, records, without_times

SMALL = {"backbone": "test_resnet", "epochs": 2, "batch_size": 8}


SMALL_QUEUE = {"queue_size": 20}


@pytest.fixture(scope="module")
def run(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mse"
    return pretrain(tiny_store, small("fair/moco_mse"), out)


def small(name: str, **overrides: Any) -> PretrainSettings:
    return recipe(name, **{**SMALL, "contrastive": SMALL_QUEUE, **overrides})


def test_run_folder_holds_what_it_promises(run: Path) -> None:
    names = {path.name for path in run.iterdir()}
    assert {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "checkpoints",
        "exported",
        "views.png",
        "result.json",
    } <= names
    steps, epochs = records(run, "step"), records(run, "epoch")
    result = json.loads((run / "result.json").read_text())
    assert len(steps) == result["steps"] == len(epochs) * (result["images"] // 8)
    assert [record["step"] for record in steps] == list(range(1, len(steps) + 1))
    last = epochs[-1]
    assert last["feature_norm"].keys() == {"stage1", "stage2", "stage3", "stage4", "pooled"}
    assert all(rank > 0 for rank in last["effective_rank"].values())
    assert last["knn"]["metric"] == "macro_auroc"
    assert 0 <= last["time"]["data_wait"] <= 1


def test_exported_backbone_is_the_query_encoders(run: Path) -> None:
    exported = load_file(run / "exported" / "backbone.safetensors")
    model = final_state(run)["model"]
    for key, value in exported.items():
        assert torch.equal(value, model[f"query_encoder.backbone.model.{key}"]), key


def test_same_seed_same_run_and_another_seed_another(
    tiny_store: Store, run: Path, tmp_path: Path
) -> None:
    again = pretrain(tiny_store, small("fair/moco_mse"), tmp_path / "again")
    assert_equal_states(final_state(run), final_state(again))
    assert without_times(run) == without_times(again)
    other = pretrain(tiny_store, small("fair/moco_mse", seed=1), tmp_path / "other")
    assert without_times(run) != without_times(other)


def test_signal_saves_and_resume_goes_on(tiny_store: Store, run: Path, tmp_path: Path) -> None:
    settings, out = small("fair/moco_mse"), tmp_path / "stopped"
    accelerator = Accelerator(cpu=True)
    assert accelerator.num_processes == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(3))
        with pytest.raises(MedstrataError, match="stopped at step 3; go on with --resume"):
            pretrain(tiny_store, settings, out)
    assert load_checkpoint(checkpoints(out / "checkpoints")[-1])["step"] == 3
    pretrain(tiny_store, settings, out, resume=True)
    assert_equal_states(final_state(run), final_state(out))


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_signal_at_the_end_of_an_epoch_loses_no_record(
    tiny_store: Store, tmp_path: Path, epochs: int
) -> None:
    settings = small("fair/moco_mse", epochs=epochs, checkpoint_every=1)
    whole = pretrain(tiny_store, settings, tmp_path / "whole")
    last = records(whole, "epoch")[0]["step"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(last))
        if epochs == 1:  # all is done but to write it down
            pretrain(tiny_store, settings, tmp_path / "run")
        else:
            with pytest.raises(MedstrataError, match=f"stopped at step {last}"):
                pretrain(tiny_store, settings, tmp_path / "run")
    pretrain(tiny_store, settings, tmp_path / "run", resume=True)
    assert without_times(tmp_path / "run") == without_times(whole)
    assert (tmp_path / "run" / "result.json").is_file()


def test_no_checkpoint_is_without_its_epochs_record(tiny_store: Store, tmp_path: Path) -> None:
    """Whatever is killed after it, the run can go on to the same records."""
    kept = []

    def keeping(folder: Path, step: int, state: dict[str, Any], keep: int) -> Path:
        events = [json.loads(line)["event"] for line in
                  (folder.parent / "metrics.jsonl").read_text().splitlines()]  # fmt: skip
        kept.append((step, events.count("epoch")))
        return save_checkpoint(folder, step, state, keep)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.checkpoint.save_checkpoint", keeping)
        settings = small("fair/moco_mse", epochs=2, checkpoint_every=1)
        run = pretrain(tiny_store, settings, tmp_path / "run")
    ends = [record["step"] for record in records(run, "epoch")]
    assert kept == [(step, sum(step >= end for end in ends)) for step in range(1, ends[-1] + 1)]


def test_a_length_in_steps_ends_within_an_epoch(tiny_store: Store, tmp_path: Path) -> None:
    """Schedule, records and result follow, and cut at any place the run ends the same."""
    settings = small(
        "fair/moco_mse", epochs=None, steps=10, checkpoint_every=1, optimizer={"warmup_steps": 2}
    )
    whole = pretrain(tiny_store, settings, tmp_path / "whole")
    steps, epochs = records(whole, "step"), records(whole, "epoch")
    assert [record["step"] for record in steps] == list(range(1, 11))
    assert [record["step"] for record in epochs] == [3, 6, 9, 10]
    assert steps[-1]["lr"] == pytest.approx(0.12 * 8 / 256 * lr_factor(
        9, steps=10, warmup_steps=2, schedule="cosine"
    ))  # fmt: skip
    result = json.loads((whole / "result.json").read_text())
    assert (result["steps"], result["epochs"]) == (10, 4)
    for stop in (8, 10):  # 10: all is done but to write it down
        out = tmp_path / str(stop)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(stop))
            if stop == 10:
                patch.setattr("medstrata.pretraining.loop._finish", _killed)
            with pytest.raises(MedstrataError, match=r"stopped at step 8|killed"):
                pretrain(tiny_store, settings, out)
        pretrain(tiny_store, settings, out, resume=True)
        assert_equal_states(final_state(whole), final_state(out))
        assert without_times(whole) == without_times(out)


def _killed(*_: object) -> None:
    raise MedstrataError("killed")


def _stop_at(step: int) -> Any:
    def stepping(training: Any, batch: Any) -> Any:
        loss = training_step(training, batch)
        if training.step + 1 == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    return stepping


def test_existing_folder_is_refused_resumed_or_overwritten(
    tiny_store: Store, run: Path, tmp_path: Path
) -> None:
    with pytest.raises(MedstrataError, match="already holds a run"):
        pretrain(tiny_store, small("fair/moco_mse"), run)
    with pytest.raises(MedstrataError, match=r"other settings .*batch_size 8 -> 4"):
        pretrain(tiny_store, small("fair/moco_mse", batch_size=4), run, resume=True)
    before = (run / "result.json").read_bytes()
    pretrain(tiny_store, small("fair/moco_mse"), run, resume=True)
    assert (run / "result.json").read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(MedstrataError, match="is not a run folder"):
        pretrain(tiny_store, small("fair/moco_mse"), tmp_path, overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_batch_larger_than_data_is_an_error(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="batch size 64 is larger than the"):
        pretrain(tiny_store, small("fair/moco", batch_size=64), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_batch_of_one_is_an_error_before_there_is_a_folder(
    tiny_store: Store, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="batch_size must be 2 or more"):
        small("fair/moco", batch_size=1)
    settings = small("fair/moco", batch_size=2, contrastive={"key_part_size": 0})
    with (
        patch.object(Accelerator, "num_processes", 2),  # one image each
        pytest.raises(MedstrataError, match="one image a process has no batch statistics"),
    ):
        pretrain(tiny_store, settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_loss_that_is_not_finite_names_the_step(tiny_store: Store, tmp_path: Path) -> None:
    settings = small("fair/moco", checkpoint_every=1, optimizer={"lr": 1e30, "warmup_steps": 0})
    with pytest.raises(MedstrataError, match=r"loss is (nan|inf) at step \d+ \(last finite"):
        pretrain(tiny_store, settings, tmp_path / "run")
    for path in checkpoints(tmp_path / "run" / "checkpoints"):
        assert load_checkpoint(path)["step"] >= 1


def test_evaluation_leaves_training_as_it_was(tiny_store: Store, tmp_path: Path) -> None:
    training = built(Accelerator(cpu=True), tiny_store, tmp_path)
    state = {name: value.clone() for name, value in training.model.state_dict().items()}
    queue = {name: value.clone() for name, value in training.queue.state_dict().items()}
    rng = torch.get_rng_state()
    training.monitor.evaluate(training.model.query_encoder.backbone)
    assert_equal_states(state, dict(training.model.state_dict()))
    assert_equal_states(queue, dict(training.queue.state_dict()))
    assert torch.equal(rng, torch.get_rng_state())
    assert training.model.query_encoder.backbone.training


def built(accelerator: Accelerator, tiny_store: Store, folder: Path, **overrides: Any) -> Training:
    settings = small("fair/moco_mse", **overrides)
    rows = training_rows(settings, tiny_store)
    resolved = resolve(settings, tiny_store, len(rows))
    return build(accelerator, resolved, tiny_store, rows, folder)


def test_accumulated_gradients_change_weights_every_second_step(
    tiny_store: Store, tmp_path: Path
) -> None:
    training = built(Accelerator(cpu=True), tiny_store, tmp_path, accumulate=2)
    weight = training.model.query_encoder.backbone.model.conv1[0].weight
    changed = []
    batches = training.loader.epoch(0)
    for _ in range(3):
        before = weight.detach().clone()
        training_step(training, next(batches))
        training.step += 1
        changed.append(not torch.equal(before, weight))
    batches.close()
    assert changed == [False, True, True]  # the third ends the epoch


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_accumulating_runs_go_on_as_if_never_cut(
    tiny_store: Store, tmp_path: Path, stop: int
) -> None:
    """Three steps an epoch make updates of two and of one; a cut waits for the end of one."""
    settings = small("fair/moco_mse", accumulate=2, checkpoint_every=1)
    whole = pretrain(tiny_store, settings, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(stop))
        with pytest.raises(MedstrataError, match=f"stopped at step {stop if stop > 1 else 2}|5"):
            pretrain(tiny_store, settings, tmp_path / "cut")
    pretrain(tiny_store, settings, tmp_path / "cut", resume=True)
    assert_equal_states(final_state(whole), final_state(tmp_path / "cut"))
    assert without_times(whole) == without_times(tmp_path / "cut")


def test_gradients_of_an_update_are_averaged(tiny_store: Store, tmp_path: Path) -> None:
    gradients = []
    for accumulate in (2, 3):
        training = built(Accelerator(cpu=True), tiny_store, tmp_path, accumulate=accumulate)
        batches = training.loader.epoch(0)
        training_step(training, next(batches))
        batches.close()
        gradient = training.model.query_encoder.backbone.model.conv1[0].weight.grad
        gradients.append(accumulate * gradient)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    "change", [{"seed": 5}, {"contrastive": {"queue_size": 16}}, {"backbone": "test_vit"}]
)
def test_a_config_that_was_edited_is_refused(
    tiny_store: Store, tmp_path: Path, change: dict[str, Any]
) -> None:
    """As by hand: the settings of the command come from the same file."""
    settings, out = small("fair/moco_mse"), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(2))
        with pytest.raises(MedstrataError, match="stopped"):
            pretrain(tiny_store, settings, out)
    config = yaml.safe_load((out / "config.yaml").read_text())
    (name, value), *_ = change.items()
    config[name] = {**config[name], **value} if isinstance(value, dict) else value
    (out / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(MedstrataError, match=f"started with other settings .*{name}"):
        pretrain(tiny_store, recipe(str(out / "config.yaml")), out, resume=True)
    assert not (out / "result.json").exists()


def test_the_weights_of_the_start_are_not_needed_to_go_on(
    tiny_store: Store, run: Path, tmp_path: Path
) -> None:
    weights = tmp_path / "start.safetensors"
    weights.write_bytes((run / "exported" / "backbone.safetensors").read_bytes())
    settings = small("fair/moco_mse", weights=str(weights))
    whole = pretrain(tiny_store, settings, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(2))
        with pytest.raises(MedstrataError, match="stopped"):
            pretrain(tiny_store, settings, tmp_path / "cut")
    weights.unlink()
    pretrain(tiny_store, settings, tmp_path / "cut", resume=True)
    assert_equal_states(final_state(whole), final_state(tmp_path / "cut"))


def test_metrics_that_do_not_fit_are_said_at_the_start(tiny_store: Store, tmp_path: Path) -> None:
    settings, out = small("fair/moco_mse"), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("medstrata.pretraining.loop.training_step", _stop_at(2))
        with pytest.raises(MedstrataError, match="stopped"):
            pretrain(tiny_store, settings, out)
    lines = (out / "metrics.jsonl").read_text().splitlines(keepends=True)
    lines[-1] = lines[-1].replace('"step": 2', '"step": 7')
    (out / "metrics.jsonl").write_text("".join(lines))
    with pytest.raises(MedstrataError, match=r"metrics.jsonl does not end at step 2"):
        pretrain(tiny_store, settings, out, resume=True)


def test_a_run_too_short_for_an_update_is_refused(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(MedstrataError, match="accumulate 4 is more than the 3 steps"):
        pretrain(tiny_store, small("fair/moco_mse", accumulate=4), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_learning_rate_follows_batch_and_schedule(tiny_store: Store, tmp_path: Path) -> None:
    settings = small("fair/moco", optimizer={"warmup_steps": 4})
    run = pretrain(tiny_store, settings, tmp_path / "run")
    rates = [step["lr"] for step in records(run, "step")]
    base = 0.12 * 8 / 256
    assert rates[:4] == pytest.approx([base / 4, base / 2, base * 3 / 4, base])
    assert max(rates) == pytest.approx(base)
    assert rates[4:] == pytest.approx([base, base / 2])


def test_train_returns_the_record_of_every_epoch(tiny_store: Store, tmp_path: Path) -> None:
    training = built(Accelerator(cpu=True), tiny_store, tmp_path)
    assert train(training) == records(tmp_path, "epoch")


@pytest.mark.parametrize("lr", [1e6, 1e9])
def test_a_broken_run_names_a_way_on_that_exists(
    tiny_store: Store, run: Path, tmp_path: Path, lr: float
) -> None:
    """1e6 breaks the weights in the last step of an epoch, 1e9 a loss within it."""
    settings = small("fair/moco_mse", epochs=6, optimizer={"lr": lr})
    words = rf"(not finite|loss is) .*lower --optimizer.lr than {re.escape(f'{lr:g}')} and --over"
    with pytest.raises(MedstrataError, match=words):
        pretrain(tiny_store, settings, tmp_path / "run")
    saved = checkpoints(run / "checkpoints")[-1]
    again = pretrain(tiny_store, small("fair/moco_mse", weights=str(saved)), tmp_path / "again")
    assert (again / "result.json").is_file()
