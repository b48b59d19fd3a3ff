"""A study small enough to run, and workers that only leave what a finished cell leaves."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medstrata.studies.plan import StudyCell
from medstrata.studies.settings import StudySettings
from medstrata.studies.study_file import as_study

TINY: dict[str, Any] = {
    "backbone": "resnet10t",
    "data": {
        "tiny": {
            "prepare": {
                "source": "images",
                "labels": "labels.csv",
                "split": "0.5/0.25/0.25",
                "label_columns": ["finding", "grade"],
            },
            "task": "finding",
        }
    },
    "arms": {"scratch": {"encoder": "scratch"}, "moco": {"recipe": "fair/moco"}},
    "fractions": [0.5, 1.0],
    "seeds": 2,
    "pretrain": {
        "epochs": 1,
        "batch_size": 8,
        "contrastive": {"queue_size": 16, "key_part_size": 0},
    },
    "protocols": {
        "full": {"settings": {"epochs": 1, "min_steps": 2, "resamples": 50}, "draws": 1},
        "frozen": {"settings": {"resamples": 50}, "draws": 1},
    },
    "validation": {"same": []},
    "probe": None,
    "reuse": None,
    "atlas": None,
}


def tiny(**changes: Any) -> StudySettings:
    return as_study({**TINY, **changes})


@dataclass
class Ended:
    """A cell that has ended as a test wants it."""

    error: BaseException | None = None

    def done(self) -> bool:
        return True

    def exception(self) -> BaseException | None:
        return self.error


@dataclass
class Pretended:
    """Workers that do nothing but leave what a finished cell leaves."""

    out: Path
    errors: dict[str, list[BaseException]] = field(default_factory=dict)
    slots: int = 2
    order: list[str] = field(default_factory=list)

    def submit(self, cell: StudyCell) -> Ended:
        self.order.append(cell.folder)
        if self.errors.get(cell.folder):
            return Ended(self.errors[cell.folder].pop(0))
        folder = self.out / cell.folder
        folder.mkdir(parents=True, exist_ok=True)
        scores = {"macro_auroc": {"value": 0.5}}
        result = {"seconds": 1.0, "metric": "macro_auroc", "test": {"scores": scores}}
        (folder / "result.json").write_text(json.dumps(result))
        return Ended()

    def stop(self) -> None:
        pass
