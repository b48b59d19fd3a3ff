"""Fine-tuning runs with predictions whose truth is known."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medstrata.metrics.intervals import score
from medstrata.metrics.metric import metrics_of_kind, primary_metric
from medstrata.report.compare.comparison import Comparison, comparisons
from medstrata.report.read.results import Finetune
from medstrata.report.read.runs import collect
from support.report_runs import TASK, finetune_run

TASKS = {
    "binary": TASK,
    "multiclass": {"name": "grade", "kind": "multiclass", "classes": ["a", "b", "c"]},
    "multilabel": {"name": "finding", "kind": "multilabel", "classes": ["a", "b"]},
}


class Patients:
    """The test images of a made-up store: two a patient, with targets drawn once.

    Args:
        task: What is predicted.
        patients: How many.
        seed: Of the targets; two stores with the same have the same truth.
    """

    def __init__(
        self, task: Mapping[str, Any] = TASK, *, patients: int = 150, seed: int = 0
    ) -> None:
        self.task, self.kind = dict(task), task["kind"]
        self.images = 2 * patients
        classes = len(task["classes"])
        draw = np.random.default_rng(seed)
        shape = (self.images, classes) if self.kind == "multilabel" else self.images
        self.target = draw.integers(0, 2 if self.kind == "multilabel" else classes, shape)
        self.sample_ids = [f"image{i:04d}" for i in range(self.images)]
        self.patient_ids = [f"patient{i // 2:04d}" for i in range(self.images)]

    def predictions(self, skill: float, seed: int = 0) -> np.ndarray:
        """Probabilities whose order follows the truth the better the greater `skill` is, (N, M)."""
        draw = np.random.default_rng([seed, 7])
        columns = {"binary": 1, "multiclass": len(self.task["classes"])}.get(
            self.kind, len(self.task["classes"])
        )
        noise = draw.normal(size=(self.images, columns))
        if self.kind == "multiclass":
            logits = noise + skill * np.eye(columns)[self.target]
            powers = np.exp(logits)
            return powers / powers.sum(axis=1, keepdims=True)
        truth = np.nan_to_num(self.target.reshape(self.images, -1), nan=0.5)
        return 1 / (1 + np.exp(-noise - skill * (truth - 0.5)))

    def frame(self, probability: np.ndarray) -> pd.DataFrame:
        """Predictions as a run writes them, test rows only."""
        classes = self.task["classes"]
        columns: dict[str, Any] = {"sample_id": self.sample_ids, "patient_id": self.patient_ids}
        columns["split"] = "test"
        if self.kind == "multilabel":
            columns |= {f"target.{c}": self.target[:, i] for i, c in enumerate(classes)}
        else:
            columns["target"] = self.target
        named = classes[1:] if self.kind == "binary" else classes
        columns |= {f"probability.{c}": probability[:, i] for i, c in enumerate(named)}
        return pd.DataFrame(columns)

    def run(
        self,
        folder: Path,
        arm: str,
        fraction: float,
        probability: np.ndarray,
        *,
        seed: int = 0,
        protocol: str = "full",
        **changes: Any,
    ) -> Path:
        """A finished run whose result and predictions agree; a validation row stands among them."""
        scores = {
            name: {
                "value": score(name, self.target, probability, self.kind),
                "low": 0.0,
                "high": 1.0,
            }
            for name in metrics_of_kind(self.kind)
        }
        test = {"images": self.images, "patients": self.images // 2, "scores": scores}
        finetune_run(
            folder,
            arm,
            fraction,
            seed,
            protocol,
            **{
                "task": self.task,
                "metric": primary_metric(self.kind),
                "test": test,
                "encoder_digest": f"{arm} of seed {seed}",
                **changes,
            },
        )
        frame = self.frame(probability)
        # An image of validation, which must not be scored.
        extra = frame.iloc[:1].assign(sample_id="validated", split="val")
        write_predictions(folder, pd.concat([extra, frame], ignore_index=True))
        return folder


def write_predictions(folder: Path, frame: pd.DataFrame) -> None:
    frame.to_parquet(folder / "predictions.parquet", index=False)


def predicted_study(
    folder: Path,
    patients: Patients,
    skills: Mapping[str, float],
    *,
    fractions: Sequence[float] = (0.01, 0.1, 1.0),
    seeds: Sequence[int] = (0, 1, 2),
    protocols: Sequence[str] = ("full",),
    **changes: Any,
) -> Path:
    """Every arm at every fraction; skill grows with labels, the same noise for arms of a seed.

    Args:
        folder: Where the runs go.
        patients: The test set.
        skills: Arm -> skill with all labels.
        fractions: Shares of labels.
        seeds: Of subsets and noise.
        protocols: Made alike.
        changes: Entries of every result.
    """
    for protocol in protocols:
        for arm, skill in skills.items():
            for fraction in fractions:
                for seed in seeds:
                    strength = skill * (1 + 0.25 * np.log10(fraction))
                    # Half of the noise is the arm's own.
                    shared = patients.predictions(strength, seed)
                    own = patients.predictions(strength, 100 * len(arm) + seed)
                    patients.run(
                        folder / protocol / f"{arm}-{fraction:g}-seed{seed}",
                        arm,
                        fraction,
                        (shared + own) / 2,
                        seed=seed,
                        protocol=protocol,
                        **changes,
                    )
    return folder


def change_result(folder: Path, **changes: Any) -> None:
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps(result | changes))


def seeds(
    folder: Path,
    patients: Patients,
    arm: str,
    skill: float,
    own: int,
    *,
    count: int = 3,
    **changes: Any,
) -> None:
    """Seeds of an arm on two draws of 10 % of the labels, a run in `<arm>-<own>-<seed>-<draw>`."""
    for seed in range(count):
        for draw in range(2):
            probability = patients.predictions(skill, 100 * own + 10 * seed + draw)
            patients.run(
                folder / f"{arm}-{own}-{seed}-{draw}",
                arm,
                0.1,
                probability,
                seed=seed,
                **{"subset_seed": draw, **changes},
            )


def comparison_in(folder: Path) -> Comparison[Finetune]:
    (comparison,) = comparisons_in(folder)
    return comparison


def comparisons_in(folder: Path) -> tuple[Comparison[Finetune], ...]:
    found, _ = comparisons(collect([folder]).of(Finetune))
    return found
