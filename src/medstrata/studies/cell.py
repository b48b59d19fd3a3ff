"""One cell of a study, run in this process."""

import itertools
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from medstrata.data.prepare.prepare import prepare
from medstrata.data.store.open import open_store
from medstrata.data.store.store import Store
from medstrata.evaluation.atlas import atlas
from medstrata.evaluation.feature_reuse import reuse
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.probe import probe
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.setup import EvaluationOptions
from medstrata.pretraining.loop import pretrain
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_result
from medstrata.runtime.files import write_text
from medstrata.runtime.settings import replace_settings
from medstrata.studies.cell_settings import (
    atlas_settings,
    finetune_settings,
    pretrain_settings,
    probe_settings,
    reuse_settings,
)
from medstrata.studies.plan import StudyCell, store_path
from medstrata.studies.settings import PREPARE_OPTIONS, DataSettings, StudySettings

_CHOICE = "choice.json"
_CANDIDATES = "candidates"


def run_cell(cell: StudyCell, settings: StudySettings, out: Path, root: Path) -> None:
    """Do the work of a cell; one that was cut goes on or starts again.

    Args:
        cell: What to do.
        settings: The study it belongs to.
        out: Folder of the study.
        root: Folder that relative paths in the study's settings start from.

    Raises:
        MedstrataError: as the function that does the work.
    """
    folder = out / cell.folder
    if cell.kind == "prepare":
        _prepare(folder, settings.data[cell.data], root)
        return
    store = open_store(store_path(settings, cell.data, out, root))
    if cell.kind == "pretrain":
        pretraining = pretrain_settings(settings, cell.data, cell.arm, cell.seed)
        assert pretraining is not None
        if pretraining.weights is not None:
            start = EncoderSpec.parse(pretraining.weights).resolved_from(root)
            pretraining = replace(pretraining, weights=str(start))
        pretrain(store, pretraining, folder, resume=True)
        return
    if cell.kind == "reuse":
        tuned = next(out / one for one in cell.needs if one.startswith("full/"))
        reuse(tuned, store, folder, reuse_settings(settings, cell.seed), resume=True)
        return
    _evaluate(cell, settings, store, folder, _encoder(cell, settings, out, root), out / "features")


def _prepare(folder: Path, data: DataSettings, root: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    written, settings = data.prepare or {}, data.prepare_settings
    if settings.labels is not None:
        settings = replace(settings, labels=root / settings.labels)
    options = {name: written[name] for name in PREPARE_OPTIONS if name in written}
    prepare(root / written["source"], folder, settings, **options)


def _encoder(cell: StudyCell, settings: StudySettings, out: Path, root: Path) -> EncoderSpec:
    """Where a cell starts: a pre-training of the study, or what the arm names."""
    for one in cell.needs:
        if one.startswith("pretrain/"):
            return EncoderSpec("path", out / one)
    encoder = settings.arms[cell.arm].encoder_on(cell.data)
    assert encoder is not None
    return encoder.resolved_from(root)


def _evaluate(
    cell: StudyCell,
    settings: StudySettings,
    store: Store,
    folder: Path,
    encoder: EncoderSpec,
    features: Path,
) -> None:
    """What starts from an encoder and a task."""
    data, arm = settings.data[cell.data], settings.arms[cell.arm]
    common: EvaluationOptions = {
        "kind": data.kind,
        "backbone": arm.backbone or settings.backbone,
        "arm": cell.arm,
        "features": features,
        "resume": True,
    }
    seeds = {"seed": cell.seed, "subset_seed": cell.draw}
    if cell.kind == "atlas":
        atlas(encoder, store, data.task, folder, atlas_settings(settings, cell.data), **common)
        return
    assert cell.fraction is not None
    if cell.kind == "probe":
        fraction, probing = (
            cell.fraction,
            replace_settings(probe_settings(settings, cell.data), seeds),
        )
        probe(encoder, store, data.task, folder, fraction=fraction, settings=probing, **common)
        return
    assert cell.kind in ("full", "frozen")
    base = replace_settings(
        finetune_settings(settings, cell.data, cell.kind),
        {**seeds, "legacy": settings.legacy, "validation": cell.validation},
    )
    tune = partial(finetune, encoder, store, data.task, cell.fraction, **common)
    _tune(tune, base, settings.protocols[cell.kind].grid, folder)


def _tune(
    tune: Callable[[Path, FinetuneSettings], Path],
    base: FinetuneSettings,
    grid: dict[str, list[Any]],
    folder: Path,
) -> None:
    """Fine-tune; of a grid every combination, of which the one that validates best stays."""
    combinations = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]
    if len(combinations) < 2:
        tune(folder, replace_settings(base, combinations[0]))
        return
    if (folder / _CHOICE).is_file() and read_result(folder) is not None:
        shutil.rmtree(folder / _CANDIDATES, ignore_errors=True)
        return
    for number, changes in enumerate(combinations):
        tune(folder / _CANDIDATES / str(number), replace_settings(base, changes))
    _keep_best(folder, combinations)


def _keep_best(folder: Path, combinations: list[dict[str, Any]]) -> None:
    """Make the candidate that validates best, the first of equals, the run of this folder."""
    tried = []
    for number, changes in enumerate(combinations):
        result = read_result(folder / _CANDIDATES / str(number))
        assert result is not None
        tried.append({"settings": changes, "val": result["val"]["value"]})
    best = max(range(len(tried)), key=lambda number: tried[number]["val"])
    write_text(folder / _CHOICE, json.dumps({"best": best, "tried": tried}, indent=2) + "\n")
    chosen = folder / _CANDIDATES / str(best)
    # The result marks the run as finished, so it comes last.
    for path in sorted(chosen.iterdir(), key=lambda path: path.name == "result.json"):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
        else:
            shutil.copy2(path, folder / path.name)
    shutil.rmtree(folder / _CANDIDATES)
