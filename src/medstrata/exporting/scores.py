"""What evaluations of an encoder found, as its model card shows it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medstrata.exporting.source import ExportSource
from medstrata.models.encoders import LoadedEncoder, encoder_digest
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_result, unusable_run
from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True)
class CardScore:
    """One score on test images, with its interval over patients."""

    how: str
    store: str
    task: str
    fraction: float
    labelled: int  # images
    metric: str
    value: float
    low: float
    high: float
    images: int
    patients: int


def scores_of(source: ExportSource, runs: Sequence[Path]) -> list[CardScore]:
    """Scores of evaluation runs, and first of the exported run's own test images.

    Raises:
        MedstrataError: a run is not finished, is of another kind, or is of another encoder.
    """
    found = [_score(source.result)] if source.result["kind"] == "finetune" else []
    own = LoadedEncoder(source.arm, source.architecture, source.backbone, source.preprocessing)
    digest = encoder_digest(own) if runs else None
    for run in runs:
        result = read_result(run)
        if result is None or result.get("kind") not in ("finetune", "probe"):
            raise unusable_run(run, "finished fine-tuning and probe runs, which have scores")
        if run.resolve() == source.run.resolve():
            continue
        spec = EncoderSpec.parse(result["encoder"]).below(run)
        if spec.path is None or spec.path.resolve() != source.run.resolve():
            raise MedstrataError(
                f"{run} evaluates {spec.name}, not {source.run.name}; a card "
                "only shows scores of its own encoder"
            )
        if result.get("encoder_digest") != digest:
            raise MedstrataError(
                f"{run} was made with other weights than {source.run} holds now; evaluate it again"
            )
        found.append(_score(result))
    return found


def _score(result: Any) -> CardScore:
    metric, test = result["metric"], result["test"]
    if result["kind"] == "probe":
        cell, how = test["stages"]["pooled"]["linear"], "linear probe of pooled features"
    else:
        cell = test["scores"][metric]
        how = "every weight fine-tuned" if result["protocol"] == "full" else "frozen, linear layer"
    return CardScore(
        how=how,
        store=str(result["store"]["name"]),
        task=str(result["task"]["name"]),
        fraction=float(result["fraction"]),
        labelled=int(result["subset"]["images"]),
        metric=str(metric),
        value=cell["value"],
        low=cell["low"],
        high=cell["high"],
        images=int(test["images"]),
        patients=int(test["patients"]),
    )
