"""Run folders -> typed facts. Nothing but the run folders is read; what cannot be read is named."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from medstrata.report.read.facts import (
    Note,
    RunFiles,
    Score,
    StoreFacts,
    TaskFacts,
    read_fraction,
    read_number,
    read_origin,
    read_score,
    read_store,
)
from medstrata.report.read.layer_runs import Atlas, Probe, Reuse, read_atlas, read_probe, read_reuse
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.metrics_log import read_metrics
from medstrata.runtime.errors import MedstrataError

# Folders inside a run that hold no further runs and may be large.
_INNER = {"checkpoints", "exported", "tensorboard"}


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """A finished pre-training run."""

    files: RunFiles
    arm: str
    recipe: str
    backbone: str
    parameters: int
    store: StoreFacts
    images: int
    num_epochs: int
    steps: int
    seconds: float
    seed: int
    device: str


@dataclass(frozen=True, kw_only=True)
class Finetune:
    """A finished fine-tuning run.

    `start` is what kind of encoder it began with: `scratch`, `imagenet` or the arm's own name;
    `labelled_ids` is a digest of which images were labelled; `legacy` holds figures as the paper's
    code computes them, empty unless the run was asked for them.
    """

    files: RunFiles
    arm: str
    start: str
    backbone: str
    protocol: str
    fraction: float
    seed: int
    store: StoreFacts
    task: TaskFacts
    subset_images: int
    subset_patients: int
    per_class: Mapping[str, int]
    labelled_ids: str | None
    metric: str
    test_images: int
    test_patients: int
    scores: Mapping[str, Score]
    seconds: float
    device: str
    legacy: Mapping[str, Any] = field(default_factory=dict)


Run = Pretrain | Finetune | Probe | Reuse | Atlas


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Everything found in the given folders."""

    pretrain: tuple[Pretrain, ...]
    finetune: tuple[Finetune, ...]
    probe: tuple[Probe, ...]
    reuse: tuple[Reuse, ...]
    atlas: tuple[Atlas, ...]
    notes: tuple[Note, ...]

    @property
    def every(self) -> tuple[Run, ...]:
        """The runs of every kind."""
        return (*self.pretrain, *self.finetune, *self.probe, *self.reuse, *self.atlas)


def collect(runs: Sequence[Path]) -> Collection:
    """Read every run in the given folders.

    Args:
        runs: Run folders, or folders that hold run folders at any depth.

    Returns:
        The finished runs in the order of their names, and a note for each that is not finished
        or cannot be read.

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
    notes: list[Note] = []
    found = [_read_run(folder, folder.relative_to(top).as_posix(), notes) for folder in folders]
    return Collection(
        pretrain=tuple(run for run in found if isinstance(run, Pretrain)),
        finetune=tuple(run for run in found if isinstance(run, Finetune)),
        probe=tuple(run for run in found if isinstance(run, Probe)),
        reuse=tuple(run for run in found if isinstance(run, Reuse)),
        atlas=tuple(run for run in found if isinstance(run, Atlas)),
        notes=tuple(notes),
    )


def _run_folders(folder: Path) -> list[Path]:
    """Folders that hold a run. A folder of runs with settings of its own is no run itself."""
    children = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    inner = [run for child in children if child.name not in _INNER for run in _run_folders(child)]
    if (folder / "result.json").is_file() or (not inner and (folder / "config.yaml").is_file()):
        return [folder, *inner]
    return inner


def _read_run(folder: Path, name: str, notes: list[Note]) -> Run | None:
    result_path = folder / "result.json"
    if not result_path.is_file():
        notes.append(Note(what=name, why=_unfinished(folder)))
        return None
    try:
        result = json.loads(result_path.read_text(encoding="utf-8"), parse_constant=_refuse)
        if result["kind"] == "import":  # an encoder brought in, not a run
            return None
        read = _READERS.get(result["kind"])
        if read is not None:
            trained = result["kind"] in ("pretrain", "finetune")
            return read(result, _read_files(folder, name, notes, trained=trained))
        why = f"result.json is of an unknown kind ({result['kind']}): left out"
    except KeyError as error:
        why = f"result.json lacks {error.args[0]}: left out"
    except (ValueError, TypeError, AttributeError, OSError) as error:
        why = f"result.json cannot be read ({' '.join(str(error).split())}): left out"
    notes.append(Note(what=name, why=why))
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
        wanted = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))["epochs"]
        return f"unfinished: there is no result.json; {len(records)} of {wanted} epochs are done"
    except (OSError, KeyError, TypeError, yaml.YAMLError, UnicodeDecodeError):
        return f"unfinished: there is no result.json; {len(records)} epochs are done"


def _read_files(folder: Path, name: str, notes: list[Note], *, trained: bool) -> RunFiles:
    settings, environment, lost = "", {}, []
    try:
        settings = (folder / "config.yaml").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        lost.append("config.yaml")
    try:
        environment = dict(json.loads((folder / "environment.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        lost.append("environment.json")
    epochs = _read_epochs(folder / "metrics.jsonl", lost) if trained else []
    if lost:
        why = (
            f"{', '.join(lost)} missing or not readable: the result stands, what they say does not"
        )
        notes.append(Note(what=name, why=why))
    return RunFiles(
        name=name,
        folder=folder,
        settings=settings,
        environment=environment,
        epochs=tuple(epochs),
        audit=_read_audit(folder / "audit.json", name, notes),
    )


def _read_audit(path: Path, name: str, notes: list[Note]) -> Mapping[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse))
    except (OSError, ValueError, TypeError):
        notes.append(Note(what=name, why="audit.json is not readable"))
        return None


def _read_epochs(path: Path, lost: list[str]) -> list[Mapping[str, Any]]:
    try:
        return list(read_metrics(path, "epoch"))
    except (OSError, ValueError, KeyError, TypeError):
        lost.append(path.name)
        return []


def _pretrain(result: Mapping[str, Any], files: RunFiles) -> Pretrain:
    return Pretrain(
        files=files,
        arm=str(result["arm"]),
        recipe=str(result["recipe"]),
        backbone=str(result["backbone"]),
        parameters=int(result["parameters"]),
        store=read_store(result["store"]),
        images=int(result["images"]),
        num_epochs=int(result["epochs"]),
        steps=int(result["steps"]),
        seconds=read_number(result["seconds"]),
        seed=int(result["seed"]),
        device=str(result["device"]),
    )


def _finetune(result: Mapping[str, Any], files: RunFiles) -> Finetune:
    subset, test = result["subset"], result["test"]
    # An undefined score is written as null; it is no score.
    scored = {name: one for name, one in test["scores"].items() if one["value"] is not None}
    encoder = EncoderSpec.parse(str(result["encoder"]))
    return Finetune(
        **read_origin(result, files),
        start=str(result["arm"]) if encoder.kind == "path" else encoder.kind,
        protocol=str(result["protocol"]),
        fraction=read_fraction(result["fraction"]),
        subset_images=int(subset["images"]),
        subset_patients=int(subset["patients"]),
        per_class={str(name): int(number) for name, number in subset["per_class"].items()},
        labelled_ids=_digest(files.folder / "subset.csv"),
        metric=str(result["metric"]),
        test_images=int(test["images"]),
        test_patients=int(test["patients"]),
        scores={str(name): read_score(one) for name, one in scored.items()},
        seconds=read_number(result["seconds"]),
        device=str(result["device"]),
        legacy=dict(result.get("legacy") or {}),
    )


def _digest(path: Path) -> str | None:
    """Digest of the lines in sorted order: the same images give the same digest."""
    if not path.is_file():
        return None
    return hashlib.sha256(b"\n".join(sorted(path.read_bytes().split()))).hexdigest()


_READERS: Mapping[str, Callable[[Mapping[str, Any], RunFiles], Run]] = {
    "pretrain": _pretrain,
    "finetune": _finetune,
    "probe": read_probe,
    "reuse": read_reuse,
    "atlas": read_atlas,
}
