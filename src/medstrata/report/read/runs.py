"""Run folders -> typed facts. Nothing but the run folders is read; what cannot be read is named."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from medstrata.report.read.facts import ReportNote, Run, RunFiles
from medstrata.report.read.from_json import read_record
from medstrata.report.read.results import KINDS
from medstrata.runs.folder import edited_settings
from medstrata.runs.kinds import kind_of
from medstrata.runs.metrics_log import read_metrics
from medstrata.runtime.documents import read_json, read_yaml
from medstrata.runtime.errors import MedstrataError, one_line

Kind = TypeVar("Kind", bound=Run)

# Folders inside a run that hold no further runs and may be large.
_INNER = {"checkpoints", "exported", "tensorboard"}


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Everything found in the given folders, in the order of their names, kind by kind."""

    runs: tuple[Run, ...]
    notes: tuple[ReportNote, ...]

    def of(self, kind: type[Kind]) -> tuple[Kind, ...]:
        """The runs of one kind."""
        return tuple(run for run in self.runs if isinstance(run, kind))


def collect(runs: Sequence[Path]) -> Collection:
    """Read every run in the given folders.

    Args:
        runs: Run folders, or folders that hold run folders at any depth.

    Returns:
        The finished runs, and a note for each that is not finished or cannot be read. An arm is
        labelled with its backbone wherever there are several.

    Raises:
        MedstrataError: a path is no folder, or no run is in any of them.
    """
    given = ", ".join(str(run) for run in runs)
    for run in runs:
        if not run.is_dir():
            raise MedstrataError(f"{run} is not a folder; give run folders or folders of runs")
    folders = sorted({folder.resolve() for run in runs for folder in _run_folders(run)})
    if not folders:
        raise MedstrataError(
            f"no run found in {given or 'an empty list'}; a run folder holds a config.yaml and, "
            "when finished, a result.json"
        )
    top = Path(os.path.commonpath([run.resolve().parent for run in runs]))
    notes: list[ReportNote] = []
    found = [_read_run(folder, folder.relative_to(top).as_posix(), notes) for folder in folders]
    kinds = list(KINDS.values())
    read = sorted((run for run in found if run), key=lambda run: kinds.index(type(run)))
    if len({run.backbone for run in read}) > 1:
        read = [replace(run, label=f"{run.arm} ({run.backbone})") for run in read]
    return Collection(runs=tuple(read), notes=tuple(notes))


def _run_folders(folder: Path) -> list[Path]:
    """Folders that hold a run. A folder of runs with settings of its own is no run itself."""
    children = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    inner = [run for child in children if child.name not in _INNER for run in _run_folders(child)]
    if (folder / "result.json").is_file() or (not inner and (folder / "config.yaml").is_file()):
        return [folder, *inner]
    return inner


def _read_run(folder: Path, name: str, notes: list[ReportNote]) -> Run | None:
    result_path = folder / "result.json"
    if not result_path.is_file():
        notes.append(ReportNote(what=name, why=_unfinished(folder)))
        return None
    try:
        result = read_json(result_path, _refuse)
        kind = kind_of(result)
        if kind == "import":  # an encoder brought in, not a run
            return None
        if kind is not None:
            trained = kind in ("pretrain", "finetune")
            files = _read_files(folder, name, notes, trained=trained)
            if edited := edited_settings(folder, result):
                why = (
                    f"config.yaml was edited after the run was made ({edited}): what it was counts"
                )
                notes.append(ReportNote(what=name, why=why))
                files = replace(files, settings=yaml.safe_dump(result["settings"]))
            if result.get("validation") == "same":
                # Choosing by as few labels is a protocol of its own, compared with its like.
                result["protocol"] = "_".join(filter(None, (result.get("protocol"), "same")))
            return read_record(KINDS[kind], result, files=files, label=str(result["arm"]))
        why = f"result.json is of an unknown kind ({result['kind']}): left out"
    except KeyError as error:
        why = f"result.json lacks {error.args[0]}: left out"
    except (ValueError, TypeError, AttributeError, OSError, MedstrataError) as error:
        why = f"result.json cannot be read ({one_line(error)}): left out"
    notes.append(ReportNote(what=name, why=why))
    return None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number")


def _unfinished(folder: Path) -> str:
    records: list[Mapping[str, Any]] = []
    path = folder / "metrics.jsonl"
    if path.is_file():
        records = _read_epochs(path, []) or []
    if not records:
        return "unfinished: there is no result.json, and no epoch was completed"
    try:
        wanted = read_yaml(folder / "config.yaml")["epochs"]
        of = "" if wanted is None else f" of {wanted}"
        return f"unfinished: there is no result.json; {len(records)}{of} epochs are done"
    except (OSError, ValueError, KeyError, TypeError):
        return f"unfinished: there is no result.json; {len(records)} epochs are done"


def _read_files(folder: Path, name: str, notes: list[ReportNote], *, trained: bool) -> RunFiles:
    settings, environment, lost = "", {}, []
    try:
        settings = (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        lost.append("config.yaml")
    try:
        environment = dict(read_json(folder / "environment.json"))
    except (OSError, ValueError, TypeError):
        lost.append("environment.json")
    epochs = _read_epochs(folder / "metrics.jsonl", lost) if trained else []
    if lost:
        why = (
            f"{', '.join(lost)} missing or not readable: the result stands, what they say does not"
        )
        notes.append(ReportNote(what=name, why=why))
    return RunFiles(
        name=name,
        folder=folder,
        settings=settings,
        environment=environment,
        epochs=tuple(epochs),
        audit=_read_audit(folder / "audit.json", name, notes),
    )


def _read_audit(path: Path, name: str, notes: list[ReportNote]) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(read_json(path, _refuse))
    except (OSError, ValueError, TypeError):
        notes.append(ReportNote(what=name, why="audit.json is not readable"))
        return None


def _read_epochs(path: Path, lost: list[str]) -> list[Mapping[str, Any]]:
    try:
        return list(read_metrics(path, "epoch"))
    except (OSError, MedstrataError):
        lost.append(path.name)
        return []
