"""Pre-training runs that differ in the intermediate loss alone, by what their encoders score."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from medstrata.metrics.defaults import LEVEL
from medstrata.report.compare.comparison import Comparison
from medstrata.report.read.facts import ReportNote
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.render.formatting import (
    counted,
    listed,
    metric_name,
    percent,
    run_names,
    sentence,
    slug,
)
from medstrata.report.render.parts import Heading, Part
from medstrata.report.render.tables import (
    Table,
    TableCell,
    labels_head,
    summary_cell,
    text_cells,
    unique_name,
)
from medstrata.report.sections.section import Section
from medstrata.runtime.documents import parse_yaml

_LOSSES = {
    "none": "none, plain MoCo",
    "mse": "mean squared error",
    "barlow_twins": "Barlow Twins",
    "centered_cosine": "centred cosine",
}
# Settings that a loss reads besides its weights.
_OPTIONS = {"mse": ("grids",), "barlow_twins": ("projector_size", "on_weight", "off_weight")}
# What runs of one ablation may differ in.
_FREE = ("recipe", "seed", "intermediate")


@dataclass(frozen=True, kw_only=True)
class LossSetting:
    """An intermediate loss as set; `weights` of the stages that carry it, in their order."""

    loss: str
    weights: tuple[tuple[str, float], ...]
    options: str


def ablation_section(
    runs: Sequence[Pretrain], comparisons: Sequence[Comparison[Finetune]]
) -> Section:
    """A table for each comparison with encoders of two settings or more that differ in no other.

    Runs that may belong there and cannot be placed are in its notes.
    """
    groups: dict[str, dict[str, LossSetting]] = {}
    notes = []
    for run in runs:
        try:
            others, setting = _read(run)
        except (KeyError, TypeError, ValueError, AttributeError):
            why = "its config.yaml does not tell the intermediate loss: not in the ablation"
            notes.append(ReportNote(what=run.files.name, why=why))
            continue
        groups.setdefault(others, {})[run.files.name] = setting
    parts: list[Part] = []
    names: dict[str, None] = {}
    for settings in groups.values():
        if len(set(settings.values())) < 2:
            continue
        for comparison in comparisons:
            name = unique_name(slug("ablation", comparison.name), names)
            table = _settings_table(name, settings, runs, comparison)
            if table is not None:
                names[name] = None
                parts += [Heading(comparison.heading), table]
        notes += _untraced(
            {run.arm for run in runs if run.files.name in settings}, runs, comparisons
        )
    lead = (
        "Encoders whose pre-training differs in the loss on the intermediate stages alone: the "
        "stages that carry it, its weights, its own options. Every other setting is equal, as "
        f"their config.yaml say. Mean over runs with its {percent(LEVEL)} interval over patients. "
        "Each encoder was pre-trained with one start unless more runs are counted, so small "
        "differences between rows may be those of the start."
    )
    return Section(
        anchor="ablation",
        title="Which stages, which weights",
        short="Ablation",
        lead=lead,
        parts=parts,
        notes=notes,
    )


def _untraced(
    arms: set[str], runs: Sequence[Pretrain], comparisons: Sequence[Comparison[Finetune]]
) -> list[ReportNote]:
    names = [
        run.files.name
        for comparison in comparisons
        for run in comparison.every
        if run.arm in arms and source(run, runs) is None
    ]
    why = "which pre-training run its encoder came from is not plain: not in the ablation"
    return [ReportNote(what=run_names(names), why=why)] if names else []


def _read(run: Pretrain) -> tuple[str, LossSetting]:
    """Every setting that must be equal, as text, and the intermediate loss."""
    config: Mapping[str, Any] = parse_yaml(run.files.settings)
    intermediate = config["intermediate"]
    loss = str(intermediate["loss"])
    weights = {} if loss == "none" else {k: float(v) for k, v in intermediate["weights"].items()}
    options = {name: intermediate.get(name) for name in _OPTIONS.get(loss, ("options",))}
    others = {name: value for name, value in config.items() if name not in _FREE}
    setting = LossSetting(
        loss=loss,
        weights=tuple(sorted((stage, weight) for stage, weight in weights.items() if weight)),
        options=json.dumps(options, sort_keys=True),
    )
    return json.dumps([run.store.name, run.backbone, others], sort_keys=True), setting


def source(run: Finetune, runs: Sequence[Pretrain]) -> Pretrain | None:
    """The pre-training run a fine-tuned encoder came from, None where that is not plain.

    The folder that the run names as its encoder may have moved: the run whose folder agrees with
    most of the end of that path is taken, else the only one of the same arm, backbone and store.
    """
    named = PurePath(str(run.encoder)).parts
    shared = [_common_end(named, one.files.folder.parts) for one in runs]
    best = max(shared, default=0)
    candidates = [one for one, number in zip(runs, shared, strict=True) if number == best > 0]
    if len(candidates) != 1:
        candidates = [
            one
            for one in candidates or runs
            if (one.arm, one.backbone, one.store.name) == (run.arm, run.backbone, run.store.name)
        ]
    return candidates[0] if len(candidates) == 1 else None


def _common_end(one: Sequence[str], other: Sequence[str]) -> int:
    number = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        number += 1
    return number


def _settings_table(
    name: str,
    settings: Mapping[str, LossSetting],
    runs: Sequence[Pretrain],
    comparison: Comparison[Finetune],
) -> Table | None:
    cells: dict[LossSetting, dict[float, list[Finetune]]] = {}
    arms: dict[LossSetting, dict[str, None]] = {}
    for (arm, fraction), tuned in comparison.runs.items():
        for run in tuned:
            encoder = source(run, runs)
            if encoder is not None and encoder.files.name in settings:
                setting = settings[encoder.files.name]
                cells.setdefault(setting, {}).setdefault(fraction, []).append(run)
                arms.setdefault(setting, {})[arm] = None
    if len(cells) < 2:
        return None
    fractions = sorted({fraction for row in cells.values() for fraction in row})
    order = sorted(cells, key=lambda one: (one.loss != "none", one.loss, one.weights, one.options))
    return Table(
        name=name,
        caption=f"{sentence(metric_name(comparison.metric))} by intermediate loss: "
        f"{comparison.clause}",
        heads=(
            *text_cells("Arm", "Loss", "Stages", "Weights"),
            *(labels_head(one) for one in fractions),
        ),
        rows=tuple(
            (
                *_described(setting, tuple(arms[setting]), order),
                *(_score_cell(comparison, cells[setting].get(one, ())) for one in fractions),
            )
            for setting in order
        ),
    )


def _described(
    setting: LossSetting, arms: Sequence[str], others: Sequence[LossSetting]
) -> tuple[TableCell, ...]:
    head = TableCell(text=listed(arms), arm=arms[0] if len(arms) == 1 else None)
    same_loss = {one.options for one in others if one.loss == setting.loss}
    # Options that all rows of this loss share say nothing here.
    differing = _differing(setting, same_loss) if len(same_loss) > 1 else ()
    stages = [stage.removeprefix("stage") for stage, _ in setting.weights]
    weights = [weight for _, weight in setting.weights]
    alike = len(weights) > 1 and len(set(weights)) == 1
    return (
        head,
        TableCell(text=_LOSSES.get(setting.loss, setting.loss), notes=differing),
        TableCell(text=", ".join(stages) or "–"),
        TableCell(
            text=f"{weights[0]:g} each"
            if alike
            else ", ".join(f"{weight:g}" for weight in weights) or "–"
        ),
    )


def _differing(setting: LossSetting, options: set[str]) -> tuple[str, ...]:
    read = [json.loads(one) for one in options]
    own = json.loads(setting.options)
    return tuple(
        f"{name.replace('_', ' ')} {json.dumps(value)}"
        for name, value in own.items()
        if any(one.get(name) != value for one in read)
    )


def _score_cell(comparison: Comparison[Finetune], runs: Sequence[Finetune]) -> TableCell:
    summary = comparison.summarise(runs, comparison.metric)
    number = len(summary.runs) if summary else 0
    return summary_cell(summary, counted(number, "run"))
