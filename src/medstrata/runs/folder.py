"""The run folder: made, refused, resumed or overwritten; its settings and its result."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from medstrata.runs.environment import environment
from medstrata.runs.kinds import RunKind
from medstrata.runs.metrics_log import finite
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text


def open_run(
    folder: Path, settings: Mapping[str, Any], *, resume: bool = False, overwrite: bool = False
) -> bool:
    """Make a run folder or take up an existing one.

    Args:
        folder: The run folder.
        settings: Everything that decides the run; written to config.yaml.
        resume: Go on with the run in the folder, if there is one.
        overwrite: Delete the run in the folder first.

    Returns:
        Whether an earlier run is taken up.

    Raises:
        MedstrataError: the folder is in use and neither option is given, holds something else
            than a run, or was started with other settings.
    """
    config = folder / "config.yaml"
    if folder.exists() and not folder.is_dir():
        raise MedstrataError(f"{folder} is a file; choose another --out")
    if folder.exists() and any(folder.iterdir()):
        if not config.is_file():
            raise MedstrataError(f"{folder} exists and is not a run folder; choose another --out")
        if resume:
            _require_equal(folder, read_config(config), json.loads(json.dumps(settings)))
            return True
        if not overwrite:
            raise MedstrataError(
                f"{folder} already holds a run; add --resume to go on or --overwrite to redo it"
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    plain = json.loads(json.dumps(settings))
    write_text(config, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
    return False


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
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise MedstrataError(f"{path} cannot be read as YAML: {error}") from error
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


def _require_equal(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    old, new = flatten(before), flatten(now)
    changed = [key for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    if changed:
        listed = ", ".join(f"{key} {old.get(key)!r} -> {new.get(key)!r}" for key in changed[:3])
        raise MedstrataError(
            f"{folder} was started with other settings ({listed}); resume with the same ones, "
            "or choose another --out"
        )


def write_result(folder: Path, kind: RunKind, result: Mapping[str, Any]) -> None:
    """Write result.json, which marks a run as finished and says of which kind it is."""
    text = json.dumps(finite({"kind": kind, **result}), indent=2)
    write_text(folder / "result.json", text + "\n")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, None of an unfinished one."""
    path = folder / "result.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


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
