"""A study of one's own images that fits a time: what `medstrata study FOLDER` runs."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from medstrata.data.labels import make_task
from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.splits import labelled_rows
from medstrata.data.store.open import is_address, open_store
from medstrata.data.store.store import SPLITS, Store
from medstrata.evaluation.rows import require_labelled_rows
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_result
from medstrata.runtime.console import duration, say, show
from medstrata.runtime.devices import device_name, evaluation_device
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import write_text
from medstrata.runtime.forecast import gib
from medstrata.runtime.machine import default_threads, free_memory
from medstrata.studies.estimate import StudyEstimate, estimate
from medstrata.studies.request import Request
from medstrata.studies.settings import StudySettings
from medstrata.studies.study_file import as_study, load_study

_CHOSEN = "chosen.yaml"
# A measurement knows nothing of start-ups, of monitors and of what else the machine has to do.
_USED_SHARE = 0.7
_BATCH, _MOST_EPOCHS = 128, 300
_FEWEST_LABELS = 10  # images that a share of the labels should hold
_SHARES = (0.01, 0.05, 0.1, 0.25)
_STORED_PX = {"cpu": 128, "cuda": 256}
_MOST_JOBS = 4

# How much is asked: `short` two arms at two shares of the labels by frozen features; `frozen` plain
# MoCo and every share too; `tuned` fine-tuning as well; `whole` the analyses of the layers besides.
_Extent = Literal["short", "frozen", "tuned", "whole"]


@dataclass(frozen=True)
class _Scale:
    backbone: str
    size: int  # pixels
    steps: int
    extent: _Extent


# From the shortest; the last that fits is taken. Three seeds of pre-training at each, as without
# them a report gives no verdict.
_SCALES = (
    _Scale("test_resnet", 32, 100, "short"),
    _Scale("test_resnet", 32, 300, "short"),
    _Scale("resnet10t", 32, 300, "short"),
    _Scale("resnet10t", 32, 600, "short"),
    _Scale("resnet10t", 32, 1000, "short"),
    _Scale("resnet10t", 32, 1000, "frozen"),
    _Scale("resnet10t", 32, 2000, "frozen"),
    _Scale("resnet10t", 32, 2000, "tuned"),
    _Scale("resnet10t", 32, 4000, "whole"),
    _Scale("resnet10t", 64, 4000, "whole"),
    _Scale("resnet18", 64, 8000, "whole"),
    _Scale("resnet18", 128, 8000, "whole"),
    _Scale("resnet50", 128, 8000, "whole"),
    _Scale("resnet50", 224, 8000, "whole"),
)


@dataclass(frozen=True)
class Proposal:
    """A study that was chosen.

    Attributes:
        settings: The study.
        file: The study file, to be edited.
        jobs: Cells that run at a time.
    """

    settings: StudySettings
    file: Path
    jobs: int


def propose(request: Request, out: Path, jobs: int | None = None) -> Proposal:
    """Prepare images, measure this machine, and choose the largest study that fits the budget.

    Asked again for the same it gives the same study, so that one that was cut goes on.

    Args:
        request: What is wanted.
        out: Folder of the study.
        jobs: Cells that run at a time; none takes a GPU each, or without any a core each, up to 4.

    Raises:
        MedstrataError: the images cannot be prepared or have no labels to learn from and to be
            scored by, nothing fits the budget, or `out` holds a study that was chosen otherwise.
    """
    started, file = time.monotonic(), out / _CHOSEN
    jobs = jobs or _default_jobs()
    asked = f"# {' '.join(str(request).split())}"
    if file.is_file():
        before = file.read_text(encoding="utf-8").partition("\n")[0]
        if before != asked:
            raise MedstrataError(
                f"{out} holds a study that was chosen for other options ({before[2:]}); give the "
                "same ones, or another --out"
            )
        say(f"going on with the study that was chosen before, {file}")
        return Proposal(load_study(file), file, jobs)
    request = replace(request, backbone=_backbone(request))
    store = _store(request, out)
    task = _task(store, request.task)
    spent = time.monotonic() - started
    chosen, expected = _largest(request, store, task, out, jobs, request.budget - spent)
    out.mkdir(parents=True, exist_ok=True)
    write_text(file, f"{asked}\n{yaml.safe_dump(chosen, sort_keys=False)}")
    say(
        f"chosen for {duration(request.budget)}: {chosen['backbone']} at "
        f"{chosen['pretrain']['views']['size']} px, {chosen['pretrain']['steps']} steps of "
        f"{chosen['pretrain']['batch_size']} images, {len(chosen['arms'])} arms, {task}; "
        f"{jobs} at a time on {device_name(evaluation_device())}"
    )
    show(expected.table())
    say(f"{gib(free_memory())} of memory can be had; the study's file is {file}")
    return Proposal(as_study(chosen), file, jobs)


def _default_jobs() -> int:
    return torch.cuda.device_count() or min(default_threads(), _MOST_JOBS)


def _backbone(request: Request) -> str | None:
    """The network that the weights fit; the one that is named, if any."""
    spec = EncoderSpec.parse(request.weights) if request.weights else None
    if request.backbone is not None or spec is None or spec.path is None:
        return request.backbone
    spec.require_present()
    run = read_result(spec.path) if spec.path.is_dir() else None
    if run is None:
        raise MedstrataError(
            f"--weights {request.weights} fit one network only: name it with --backbone"
        )
    return str(run["backbone"])


def _store(request: Request, out: Path) -> Store:
    """The store itself, or one that is made of the images within the study's folder."""
    if is_address(request.source) or (Path(request.source) / "store.json").is_file():
        if request.prepare != PrepareSettings():
            raise MedstrataError(
                f"{request.source} is a store already; options of labels, patients and splits are "
                "for folders of images"
            )
        return open_store(request.source)
    source, settings = Path(request.source), request.prepare
    if settings.size is None:
        settings = replace(settings, size=_STORED_PX[evaluation_device().type])
    folder = out / "stores" / f"{source.resolve().stem}.store"
    return prepare(source, folder, settings, allow_leakage=request.allow_leakage)


def _task(store: Store, named: str | None) -> str:
    """The task's name, on which every split has something to learn or to score."""
    columns = list(store.label_columns)
    if named is None and not columns:
        raise MedstrataError(
            f"{store.location} has no labels: give --labels with a table of them, or for folders "
            "that are named by classes --dataset imagefolder"
        )
    name = named or columns[0]
    if named is None and len(columns) > 1:
        say(f"task: {name}; others by --task: {', '.join(columns[1:])}")
    task = make_task(store, name)
    for split in SPLITS:
        require_labelled_rows(store, task, split)
    return name


def _largest(
    request: Request, store: Store, task: str, out: Path, jobs: int, left: float
) -> tuple[dict[str, Any], StudyEstimate]:
    """The largest study that takes at most the time that is left, and what it will take."""
    scales = [scale for scale in _SCALES if scale.size <= max(store.size, _SCALES[0].size)]
    fitting: tuple[dict[str, Any], StudyEstimate] | None = None
    low, high = 0, len(scales)
    while low < high:
        middle = (low + high) // 2
        written = _study(request, store, task, scales[middle])
        expected = estimate(as_study(written), out, Path(), jobs)
        if expected.seconds <= _USED_SHARE * left and expected.memory <= free_memory():
            fitting, low = (written, expected), middle + 1
        else:
            high = middle
    if fitting is None:
        needed = expected.seconds / _USED_SHARE + request.budget - left
        raise MedstrataError(
            f"a study of {store.location} takes about {duration(needed)} and "
            f"{gib(expected.memory)} of memory at the least: give --budget "
            f"{math.ceil(needed / 60)}m, or fewer --jobs where memory is short"
        )
    return fitting


def _study(request: Request, store: Store, task: str, scale: _Scale) -> dict[str, Any]:
    """A study file of a scale."""
    size, images = min(scale.size, store.size), len(store.rows("train"))
    batch = max(2, min(_BATCH, images // 8 * 8))
    short, tuned = scale.extent == "short", scale.extent in ("tuned", "whole")
    fractions = _fractions(store, task, short=short)
    tuning = {"settings": {"views": {"size": size}}}
    draws = {"draws": 10} if short else {}
    protocols = {"frozen": {**tuning, **draws}} | ({"full": tuning} if tuned else {})
    place = store.location if store.is_remote else store.path.resolve()
    data: dict[str, Any] = {"store": str(place), "task": task}
    if request.modality is not None:
        data["modality"] = request.modality
    return {
        "title": f"Low-label study of {store.path.name.removesuffix('.store')}",
        "backbone": request.backbone or scale.backbone,
        "data": {_name(store): data},
        "arms": _arms(request.weights, short=short),
        "fractions": fractions,
        "seeds": 3,
        "pretrain": {
            "steps": min(scale.steps, math.ceil(_MOST_EPOCHS * images / batch)),
            "batch_size": batch,
            "views": {"size": size},
        },
        "protocols": protocols,
        "validation": {"same": [] if short else fractions[:1]},
        **({} if scale.extent == "whole" else dict.fromkeys(("probe", "reuse", "atlas"))),
    }


def _name(store: Store) -> str:
    """The store's name as a name of a study's data set."""
    letters = [one if one.isalnum() or one in "_-+." else "_" for one in store.path.name]
    return "".join(letters).removesuffix(".store").lstrip("-+.") or "images"


def _arms(weights: str | None, *, short: bool) -> dict[str, dict[str, Any]]:
    arms: dict[str, dict[str, Any]] = {"scratch": {"encoder": "scratch"}}
    if not short:
        arms["moco"] = {"recipe": "fair/moco"}
    arms["recommended"] = {"recipe": "recommended"}
    if weights is not None:
        spec = EncoderSpec.parse(weights)
        if spec.path is not None:
            spec = spec.resolved_from(Path.cwd())
        arms["stock"] = {"encoder": str(spec)}
        arms["continued"] = {"recipe": "recommended", "pretrain": {"weights": str(spec)}}
    return arms


def _fractions(store: Store, task: str, *, short: bool) -> Sequence[float]:
    """Shares of the labels, the smallest with enough images to learn from, and all."""
    labelled = len(labelled_rows(store, make_task(store, task), "train"))
    enough = [share for share in _SHARES if share * labelled >= _FEWEST_LABELS] or [_SHARES[-1]]
    few = enough[:1] if short else [share for share in enough if share in (enough[0], 0.1)]
    return [*few, 1.0]
