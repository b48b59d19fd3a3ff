"""Experiment trackers beside metrics.jsonl: TensorBoard, Weights & Biases, MLflow; none unasked."""

import json
import os
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, MLflowTracker, TensorBoardTracker, WandBTracker

from medstrata.runs.folder import flatten
from medstrata.runs.tracker_names import Tracker
from medstrata.runtime.console import say, warn
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.files import write_text
from medstrata.runtime.optional import require_optional

Track = Callable[[Mapping[str, float], int], None]  # numbers by name, and their step
_PROJECT = "medstrata"
_IDENTITY = "trackers.json"
_LONGEST = 200  # characters that a tracker may say of its troubles


def no_tracker(_values: Mapping[str, float], _step: int) -> None:
    """The tracker of a run that has none."""


@contextmanager
def tracking(
    names: Sequence[Tracker], folder: Path, settings: Mapping[str, Any], *, step: int
) -> Iterator[Track]:
    """Start the trackers that are named, and give what sends them numbers.

    Nothing leaves the machine by default: Weights & Biases writes into the run folder unless
    `WANDB_MODE` says online, MLflow into `mlflow.db` beside the run folder unless
    `MLFLOW_TRACKING_URI` names a server. A tracker that fails while a run trains is dropped with a
    warning: metrics.jsonl has all numbers. A resumed run goes on under its old name there. What
    trackers read in the environment is set; callers give it back (`preserve_process_state`).

    Args:
        names: Which trackers.
        folder: The run folder; its name is that of the run.
        settings: Shown beside the run, flattened.
        step: Steps done before, when resuming.

    Raises:
        MedstrataError: a tracker is not installed, or does not start.
    """
    require_installed(names)
    running: dict[Tracker, GeneralTracker] = {}
    try:
        for name in names:
            running[name] = _start(name, folder, settings, step)

        def track(values: Mapping[str, float], at: int) -> None:
            for name in list(running):
                try:
                    running[name].log(dict(values), step=at)
                except Exception as error:  # noqa: BLE001  (a server's troubles must not end a run)
                    cause = one_line(error, limit=_LONGEST)
                    warn(f"{name} failed ({cause}); the run goes on without it")
                    _finish(name, running.pop(name))

        yield track
    finally:
        for name, tracker in running.items():
            _finish(name, tracker)


def _finish(name: Tracker, tracker: GeneralTracker) -> None:
    try:
        tracker.finish()
    except Exception as error:  # noqa: BLE001  (what was trained must still be written)
        cause = one_line(error, limit=_LONGEST)
        warn(f"{name} did not end well ({cause}); metrics.jsonl has all numbers")


def require_installed(names: Sequence[Tracker]) -> None:
    """Refuse trackers that are not installed, before anything begins.

    Raises:
        MedstrataError: one is missing.
    """
    for name in names:
        require_optional([name], f"tracking by {name}", name)


def _start(name: Tracker, folder: Path, settings: Mapping[str, Any], step: int) -> GeneralTracker:
    started = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}[name](folder, step)
    try:
        started.start()
        if name != "tensorboard":  # its table of settings wants final scores; config.yaml has them
            started.store_init_configuration(_shown(settings))
    except Exception as error:
        cause = one_line(error, limit=_LONGEST)
        raise MedstrataError(f"the tracker {name} does not start: {cause}") from error
    if isinstance(started, MLflowTracker):
        _remember(folder, name, started.tracker.info.run_id)
    return started


def _tensorboard(folder: Path, step: int) -> GeneralTracker:
    # What lies after the first step that will be written again is hidden.
    return TensorBoardTracker(_PROJECT, folder / "tensorboard", purge_step=step)


def _wandb(folder: Path, _step: int) -> GeneralTracker:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # read when it is imported
    import wandb

    identity = _remembered(folder, "wandb") or uuid.uuid4().hex
    _remember(folder, "wandb", identity)
    mode = os.environ.get("WANDB_MODE", "offline")
    if mode == "offline":
        say(f"wandb writes into {folder / 'wandb'}; WANDB_MODE=online sends as it goes")
    return WandBTracker(
        _PROJECT,
        id=identity,
        name=folder.name,
        dir=str(folder),
        mode=mode,
        resume="allow" if mode == "online" else None,
        # Curves alone: no source code, no terminal, no facts of the machine.
        settings=wandb.Settings(
            console="off",
            disable_code=True,
            disable_git=True,
            host="",
            silent=True,
            x_disable_machine_info=True,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        ),
    )


def _mlflow(folder: Path, _step: int) -> GeneralTracker:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    import mlflow

    if not mlflow.is_tracking_uri_set():
        database = folder.resolve().parent / "mlflow.db"
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{database}"
        say(f"mlflow writes into {database}; MLFLOW_TRACKING_URI names a server")
    return MLflowTracker(
        _PROJECT,
        run_id=_remembered(folder, "mlflow"),
        run_name=folder.name,
        # Else the name of the user, and where the program lies.
        tags={"mlflow.user": "", "mlflow.source.name": _PROJECT},
    )


def _remembered(folder: Path, name: Tracker) -> str | None:
    path = folder / _IDENTITY
    known: dict[str, str] = read_json(path) if path.is_file() else {}
    return known.get(name)


def _remember(folder: Path, name: Tracker, identity: str) -> None:
    path = folder / _IDENTITY
    known = read_json(path) if path.is_file() else {}
    write_text(path, json.dumps({**known, name: identity}, indent=2) + "\n")


def _shown(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as trackers take them: numbers and truth values as they are, else text."""
    plain = (bool, int, float)
    return {
        name: value if isinstance(value, plain) else str(value)
        for name, value in flatten(settings).items()
    }
