"""Trackers get the numbers of metrics.jsonl, under one name over interruptions, on this machine."""

import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import TensorBoardTracker

import medstrata as ms
from medstrata.data.store.store import Store
from medstrata.pretraining.settings import PretrainSettings
from medstrata.runs import trackers
from medstrata.runtime.errors import MedstrataError, Stopped
from support.runs import records


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests counts; what is started ends in the folder."""
    for name in [*os.environ]:
        if name.startswith(("WANDB_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)


def settings(**changes: object) -> PretrainSettings:
    chosen: dict[str, object] = {
        "backbone": "test_resnet",
        "epochs": 2,
        "batch_size": 8,
        "views": {"size": 32},
        "contrastive": {"queue_size": 16},
    }
    return ms.recipe("fair/moco_mse", **chosen | changes)


def test_nothing_is_tracked_unless_named(tiny_store: Store, tmp_path: Path) -> None:
    run = ms.pretrain(tiny_store, settings(epochs=1), tmp_path / "run")
    assert (run / "metrics.jsonl").is_file()
    assert not (run / "tensorboard").exists()
    assert not (run / "trackers.json").exists()


@pytest.mark.usefixtures("quiet")
def test_tensorboard_holds_the_numbers_of_metrics(tiny_store: Store, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = ms.pretrain(tiny_store, settings(), tmp_path / "run", trackers=["tensorboard"])
    events = EventAccumulator(str(run / "tensorboard" / "medstrata"))
    events.Reload()
    shown = {one.step: one.value for one in events.Scalars("step/loss")}
    written = {record["step"]: record["loss"] for record in records(run, "step")}
    assert shown == pytest.approx(written, rel=1e-6)


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")  # MLflow's and its database's own
def test_mlflow_goes_on_with_the_run_that_was_stopped(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracking import MlflowClient

    out = tmp_path / "run"
    stop_at(monkeypatch, step=3)
    with pytest.raises(Stopped):
        ms.pretrain(tiny_store, settings(), out, trackers=["mlflow"])
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    ms.pretrain(tiny_store, settings(), out, trackers=["mlflow"], resume=True)
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (experiment,) = client.search_experiments(filter_string="name = 'medstrata'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "run"
    assert run.data.params["backbone"] == "test_resnet"
    shown = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "step/loss")}
    assert shown == pytest.approx({r["step"]: r["loss"] for r in records(out, "step")})


def stop_at(monkeypatch: pytest.MonkeyPatch, *, step: int) -> None:
    """Ask this process to stop, as a scheduler does, when the step's numbers are sent."""
    start = trackers._start

    def starting(*arguments: object) -> object:
        tracker = start(*arguments)  # type: ignore[arg-type]
        log = tracker.log

        def logging(values: dict[str, float], **at: int) -> None:
            log(values, **at)
            if at["step"] == step and "step/loss" in values:
                os.kill(os.getpid(), signal.SIGTERM)

        tracker.log = logging  # type: ignore[method-assign]
        return tracker

    monkeypatch.setattr(trackers, "_start", starting)


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")  # Weights & Biases' own
def test_wandb_writes_into_the_run_folder_and_sends_nothing(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # whoever calls there fails
    run = ms.pretrain(tiny_store, settings(), tmp_path / "run", trackers=["wandb"])
    (kept,) = (run / "wandb").glob("offline-run-*/run-*.wandb")
    kept_records = wandb_records(kept)
    shown = [
        float(json.loads(item.value_json))
        for record in kept_records
        for item in record.history.item
        if "step/loss" in (item.key, *item.nested_key)
    ]
    assert shown == pytest.approx([record["loss"] for record in records(run, "step")], rel=1e-6)
    assert {record.run.host for record in kept_records} == {""}
    assert not any(record.environment.host for record in kept_records)
    written = b"".join(p.read_bytes() for p in (run / "wandb").rglob("*") if p.is_file())
    assert str(tiny_store.path.parent).encode() not in written


def wandb_records(path: Path) -> list[Any]:
    """What Weights & Biases keeps of a short run.

    After 7 bytes come records, each behind its checksum (4 bytes), length (2) and type (1).
    """
    from wandb.proto.wandb_internal_pb2 import Record

    content, records, place = path.read_bytes(), [], 7
    assert len(content) < 32_768  # one block of the format
    while place + 7 < len(content):
        (length,) = struct.unpack_from("<H", content, place + 4)
        record = Record()
        record.ParseFromString(content[place + 7 : place + 7 + length])
        records.append(record)
        place += 7 + length
    return records


def test_a_tracker_that_fails_does_not_end_the_run(
    tiny_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise ConnectionError("server is gone\nlong text")

    monkeypatch.setattr(TensorBoardTracker, "log", unreachable)
    run = ms.pretrain(tiny_store, settings(epochs=1), tmp_path / "run", trackers=["tensorboard"])
    assert (run / "result.json").is_file()
    assert capsys.readouterr().err.count("tensorboard failed (server is gone long text)") == 1


def test_a_tracker_that_is_not_installed_leaves_no_folder(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medstrata.runtime.optional.find_spec", lambda _name: None)
    with pytest.raises(MedstrataError, match=r"by wandb needs wandb: pip install 'medstrata\[w"):
        ms.pretrain(tiny_store, settings(), tmp_path / "run", trackers=["wandb"])
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("quiet")
def test_fine_tuning_is_tracked_too(tiny_store: Store, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    few = ms.FinetuneSettings(epochs=2, min_steps=1, resamples=10)
    task = {"backbone": "test_resnet", "trackers": ["tensorboard"]}
    run = ms.finetune("scratch", tiny_store, "finding", 0.5, tmp_path / "run", few, **task)
    events = EventAccumulator(str(run / "tensorboard" / "medstrata"))
    events.Reload()
    shown = [one.value for one in events.Scalars("epoch/val_score")]
    assert shown == pytest.approx([record["val_score"] for record in records(run, "epoch")])


@pytest.mark.parametrize("stopped", [False, True])
def test_a_tracker_that_does_not_end_loses_nothing(
    tiny_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stopped: bool,
) -> None:
    def unreachable(*_: object) -> None:
        raise ConnectionError("server is gone")

    monkeypatch.setattr(TensorBoardTracker, "finish", unreachable)
    out = tmp_path / "run"
    if stopped:
        stop_at(monkeypatch, step=1)
        with pytest.raises(Stopped):  # not the server's error: the exit status depends on it
            ms.pretrain(tiny_store, settings(epochs=2), out, trackers=["tensorboard"])
    else:
        ms.pretrain(tiny_store, settings(epochs=1), out, trackers=["tensorboard"])
        assert (out / "result.json").is_file()
    assert "tensorboard did not end well (server is gone)" in capsys.readouterr().err


@pytest.mark.usefixtures("quiet")
@pytest.mark.filterwarnings("ignore")  # MLflow's and its database's own
def test_mlflow_keeps_each_run_beside_its_folder_and_names_nobody(
    tiny_store: Store, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    for place in ("one", "two"):
        (tmp_path / place).mkdir()
        ms.pretrain(tiny_store, settings(epochs=1), tmp_path / place / "run", trackers=["mlflow"])
        client = MlflowClient(f"sqlite:///{tmp_path / place / 'mlflow.db'}")
        (experiment,) = client.search_experiments(filter_string="name = 'medstrata'")
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.data.tags["mlflow.user"] == ""
        assert run.data.tags["mlflow.source.name"] == "medstrata"
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_wandb_is_told_before_it_is_imported() -> None:
    """Its older versions decide on reports of errors when they are imported."""
    code = (
        "import os, sys, types, pathlib\n"
        "class Wandb(types.ModuleType):\n"
        "    def __getattr__(self, name):\n"
        "        raise SystemExit(int(os.environ.get('WANDB_ERROR_REPORTING') != 'false'))\n"
        "from importlib.abc import Loader, MetaPathFinder\n"
        "from importlib.machinery import ModuleSpec\n"
        "class Find(MetaPathFinder, Loader):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        return ModuleSpec(name, self) if name == 'wandb' else None\n"
        "    def create_module(self, spec): return None\n"
        "    def exec_module(self, module):\n"
        "        raise SystemExit(int(os.environ.get('WANDB_ERROR_REPORTING') != 'false'))\n"
        "from medstrata.runs import trackers\n"
        "sys.modules.pop('wandb', None)\n"
        "sys.meta_path.insert(0, Find())\n"
        "trackers._wandb(pathlib.Path('run'), 0)\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    done = subprocess.run([sys.executable, "-c", code], env=clean, check=False)
    assert done.returncode == 0
