"""One cell of a study, run in this process."""

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

from medstrata.data.prepare import prepare
from medstrata.data.store import Store, open_store
from medstrata.errors import MedstrataError
from medstrata.files import write_text
from medstrata.finetuning import finetune
from medstrata.pretraining import pretrain
from medstrata.run import read_result
from medstrata.settings import FinetuneSettings
from medstrata.studies.plan import Cell, store_path
from medstrata.studies.settings import StudySettings, changed

_CHOICE = "choice.json"
_CANDIDATES = "candidates"
# Arguments of `prepare` that are paths.
_PATHS = ("source", "labels")


def perform(cell: Cell, settings: StudySettings, out: Path, root: Path) -> None:
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
        _prepare(folder, settings.data[cell.data].prepare or {}, root)
        return
    store = open_store(store_path(settings, cell.data, out, root))
    if cell.kind == "pretrain":
        chosen = settings.pretraining(cell.data, cell.arm, cell.seed)
        assert chosen is not None
        pretrain(store, chosen, folder, resume=True)
        return
    _tune(cell, settings, store, folder, _encoder(cell, settings, out, root), out / "features")


def _prepare(folder: Path, arguments: dict[str, Any], root: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    paths = {name: root / arguments[name] for name in _PATHS if arguments.get(name) is not None}
    try:
        prepare(**{**arguments, **paths}, out=folder)
    except TypeError as error:
        raise MedstrataError(f"prepare: {error}") from error


def _encoder(cell: Cell, settings: StudySettings, out: Path, root: Path) -> str:
    """What the functions that take an encoder are given."""
    for one in cell.needs:
        if one.startswith("pretrain/"):
            return str(out / one)
    encoder = (settings.arms[cell.arm].encoder or "").replace("{data}", cell.data)
    kind, equals, file = encoder.partition("=")
    if kind in ("scratch", "imagenet"):
        return f"{kind}={root / file}" if equals else kind
    return str(root / encoder)


def _tune(
    cell: Cell, settings: StudySettings, store: Store, folder: Path, encoder: str, features: Path
) -> None:
    """Fine-tune; of a grid every combination, of which the one that validates best stays."""
    assert cell.fraction is not None
    assert cell.kind in ("full", "frozen")
    base = changed(
        settings.finetune(cell.data, cell.kind), {"seed": cell.seed, "subset_seed": cell.seed}
    )
    grid = settings.protocols[cell.kind].grid
    combinations = [
        dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())
    ]

    def run(where: Path, chosen: FinetuneSettings) -> None:
        assert cell.fraction is not None
        finetune(
            encoder,
            store,
            settings.data[cell.data].task,
            cell.fraction,
            where,
            chosen,
            kind=settings.data[cell.data].kind,
            backbone=settings.arms[cell.arm].backbone or settings.backbone,
            arm=cell.arm,
            resume=True,
        )

    if len(combinations) < 2:
        run(folder, changed(base, combinations[0]))
        return
    if (folder / _CHOICE).is_file() and read_result(folder) is not None:
        shutil.rmtree(folder / _CANDIDATES, ignore_errors=True)
        return
    for number, changes in enumerate(combinations):
        run(folder / _CANDIDATES / str(number), changed(base, changes))
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
