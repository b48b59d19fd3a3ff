"""The run folder: made, refused, resumed or overwritten; its settings and its result."""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from medstrata.runs.environment import environment
from medstrata.runs.kinds import RunKind
from medstrata.runs.metrics_log import finite
from medstrata.runtime.console import say
from medstrata.runtime.documents import read_json, read_yaml
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.files import write_text
from medstrata.runtime.lock import LOCK_FILES, locked

# All that a run has whose start was cut, beside scratch files.
_BEGUN = LOCK_FILES | {"environment.json"}


@contextmanager
def open_run(
    folder: Path, settings: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> Iterator[bool]:
    """Make a run folder or take up an existing one; no other process may meanwhile.

    Args:
        folder: The run folder.
        settings: Everything that decides the run; written to config.yaml.
        resume: Go on with the run in the folder, if there is one.
        overwrite: Delete the run in the folder first.

    Yields:
        Whether an earlier run is taken up.

    Raises:
        MedstrataError: the folder holds a run and neither option is given, holds something else,
            was started with other settings, or another process works in it.
    """
    _require_run_or_room(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        yield _take_up(folder, settings, resume=resume, overwrite=overwrite)


def require_room(folder: Path, *, resume: bool = False, overwrite: bool = False) -> None:
    """Refuse a folder that `open_run` would refuse, before anything is computed for it.

    Raises:
        MedstrataError: the folder holds a run and neither option is given, or something else.
    """
    _require_run_or_room(folder)
    if (folder / "config.yaml").is_file() and not (resume or overwrite):
        raise MedstrataError(
            f"{folder} already holds a run; add --resume to go on or --overwrite to redo it"
        )


def _require_run_or_room(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise MedstrataError(f"{folder} is a file; choose another --out")
    names = {path.name for path in folder.iterdir() if not _is_scratch(path)}
    if "config.yaml" not in names and names - _BEGUN:
        raise MedstrataError(f"{folder} exists and is not a run folder; choose another --out")


def _take_up(folder: Path, settings: Mapping[str, Any], *, resume: bool, overwrite: bool) -> bool:
    config = folder / "config.yaml"
    plain = json.loads(json.dumps(settings))
    if config.is_file() and resume:
        require_equal(folder, read_config(config), plain)
        for path in folder.rglob("*"):
            if _is_scratch(path):
                _delete(path)  # of a process that was killed: this one has the lock
        return True
    require_room(folder, overwrite=overwrite)
    # Cut here, it is an unfinished run till the end.
    order = {"result.json": 0, "config.yaml": 2}
    for path in sorted(folder.iterdir(), key=lambda path: order.get(path.name, 1)):
        if path.name not in LOCK_FILES:
            _delete(path)
    write_text(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    write_text(config, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    return False


def _is_scratch(path: Path) -> bool:
    return path.name.startswith(".") and path.suffix == ".tmp"


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def keep_audit(store: Path, folder: Path) -> None:
    """Copy a store's audit into the run folder, where the report looks for it."""
    if (store / "audit.json").is_file():
        write_text(folder / "audit.json", (store / "audit.json").read_text(encoding="utf-8"))


def read_config(path: Path) -> dict[str, Any]:
    """Read a config.yaml.

    Raises:
        MedstrataError: it is no YAML, or holds no settings.
    """
    try:
        loaded = read_yaml(path)
    except ValueError as error:
        raise MedstrataError(f"{path} cannot be read as YAML: {one_line(error)}") from error
    if not isinstance(loaded, dict):
        raise MedstrataError(f"{path} is not a mapping of settings")
    return loaded


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names; a mapping that is empty gives none."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            found.update(flatten(value, f"{prefix}{key}."))
        else:
            found[prefix + key] = value
    return found


def require_equal(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with other settings; what a store is called does not count.

    Args:
        folder: The run folder.
        before: Settings that it was started with.
        now: Settings that it is to go on with.

    Raises:
        MedstrataError: some differ; the first are named.
    """
    if changed := _differences(before, now):
        raise MedstrataError(
            f"{folder} was started with other settings ({changed}); resume with the same ones, "
            "or choose another --out"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first settings that differ, in words; empty if none does."""
    old, new = flatten(before), flatten(now)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if "store_digest" not in changed:
        changed = [key for key in changed if key != "store"]
    return ", ".join(f"{key} {old.get(key)!r} -> {new.get(key)!r}" for key in changed[:3])


def edited_settings(folder: Path, result: Mapping[str, Any]) -> str:
    """Settings in config.yaml that are not those a finished run was made with; empty if none is.

    Args:
        folder: The run folder.
        result: What its result.json holds; results of earlier versions do not say the settings.

    Raises:
        MedstrataError: config.yaml is no YAML.
    """
    kept, config = result.get("settings"), folder / "config.yaml"
    return _differences(kept, read_config(config)) if kept and config.is_file() else ""


def write_result(
    folder: Path, kind: RunKind, settings: Mapping[str, Any], result: Mapping[str, Any]
) -> None:
    """Write result.json, which marks a run as finished.

    Args:
        folder: The run folder.
        kind: Which kind of run it is.
        settings: What decided the run, as `open_run` was given it.
        result: What was found.
    """
    text = json.dumps(finite({"kind": kind, **result, "settings": settings}), indent=2)
    write_text(folder / "result.json", text + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, None of an unfinished one.

    Raises:
        MedstrataError: result.json cannot be read, or config.yaml was edited since.
    """
    path = folder / "result.json"
    if not path.is_file():
        return None
    try:
        result = dict(read_json(path))
    except (ValueError, TypeError) as error:
        raise MedstrataError(
            f"{path} is damaged ({one_line(error)}): delete it and finish the run with --resume"
        ) from error
    if edited := edited_settings(folder, result):
        raise MedstrataError(
            f"{folder / 'config.yaml'} was edited after the run was made ({edited}): put it back, "
            "or make the run again"
        )
    return result


def is_finished(folder: Path) -> bool:
    """Whether there is nothing left to do for a run that is taken up, which is said then."""
    finished = read_result(folder) is not None
    if finished:
        say(f"{folder} is finished already; nothing to do")
    return finished


def unusable_run(run: Path, wanted: str) -> MedstrataError:
    """The error for a folder that is no finished run of the kind that is wanted.

    Args:
        run: What was given as a run folder.
        wanted: What to give instead, in words.
    """
    if read_result(run) is not None:
        why = "is a run of another kind, or has lost files"
    elif (run / "config.yaml").is_file():
        why = "is not finished (--resume finishes it)"
    else:
        why = "is not a run folder"
    return MedstrataError(f"{run} {why}; give {wanted}")


def settings_dict(settings: Any) -> dict[str, Any]:
    """A settings dataclass as nested plain values, tuples as lists."""
    return dict(json.loads(json.dumps(asdict(settings))))
