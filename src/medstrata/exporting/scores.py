"""What evaluations of an encoder found, as its model card shows it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from medstrata.exporting.source import ExportSource
from medstrata.models.encoders import LoadedEncoder, encoder_digest
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_result, unusable_run
from medstrata.runs.kinds import kind_of
from medstrata.runtime.errors import MedstrataError


class CardScore(NamedTuple):
    """One score on test images, with its interval over patients."""

    how: str
    interval: Mapping[str, float]  # value, low and high
    result: Mapping[str, Any]  # what result.json of the run holds


def card_scores(source: ExportSource, runs: Sequence[Path]) -> list[CardScore]:
    """Scores of evaluation runs, and first of the exported run's own test images.

    Raises:
        MedstrataError: a run is not finished, is of another kind, or is of another encoder.
    """
    scores = [_score(source.result)] if source.kind == "finetune" else []
    own = LoadedEncoder(source.arm, source.architecture, source.backbone, source.preprocessing)
    digest = encoder_digest(own) if runs else None
    for run in runs:
        result = read_result(run)
        if result is None or kind_of(result) not in ("finetune", "probe"):
            raise unusable_run(run, "finished fine-tuning and probe runs, which have scores")
        if run.resolve() == source.run.resolve():
            continue
        # By the digest: either may have been moved.
        if result.get("encoder_digest") != digest:
            name = EncoderSpec.parse(result["encoder"]).name
            raise MedstrataError(
                f"{run} evaluates {name} with other weights than {source.run} holds now; a card "
                "only shows scores of its own encoder: evaluate it again"
            )
        scores.append(_score(result))
    return scores


def _score(result: Mapping[str, Any]) -> CardScore:
    if kind_of(result) == "probe":
        linear = result["test"]["stages"]["pooled"]["linear"]
        return CardScore("linear probe of pooled features", linear, result)
    how = "every weight fine-tuned" if result["protocol"] == "full" else "frozen, linear layer"
    return CardScore(how, result["test"]["scores"][result["metric"]], result)
