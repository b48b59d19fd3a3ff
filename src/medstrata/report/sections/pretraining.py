"""What pre-training runs were, what their monitors said, and their curves."""

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from medstrata.report.read.results import Pretrain
from medstrata.report.render.figures import Style
from medstrata.report.render.formatting import counted
from medstrata.report.render.parts import Bullets, Heading, Part, Text
from medstrata.report.sections.curves import pretrain_curves, read
from medstrata.report.sections.inventory import pretrain_table
from medstrata.report.sections.section import Section

_SHOWN = 6  # warnings of a run that are shown before the rest is counted


def pretraining_section(runs: Sequence[Pretrain], styles: Mapping[str, Style]) -> Section:
    """Everything about the pre-training runs."""
    warnings = [part for run in runs for part in _warnings(run)]
    parts = (
        pretrain_table(runs),
        Heading("What the monitors said"),
        *(warnings or [Text("No run raised a warning of collapse.")]),
        *pretrain_curves(runs, styles),
    )
    return Section(anchor="pretraining", title="Pre-training", short="Pre-training", parts=parts)


def _warnings(run: Pretrain) -> Iterator[Part]:
    """What the monitors said of a run; epochs are counted from 1."""
    warnings = [
        (int(read(record, "epoch") or 0) + 1, str(message))
        for record in run.files.epochs
        for message in record.get("warnings") or ()
    ]
    if not warnings:
        return
    words = (run.label, run.seed, counted(len(warnings), "warning"))
    yield Text(Markup("<b>{}, seed {}</b>: {}.").format(*words))
    points = [("", f"After epoch {epoch}: {message}") for epoch, message in warnings[:_SHOWN]]
    if len(warnings) > _SHOWN:
        rest = counted(len(warnings) - _SHOWN, "further warning")
        points.append(("", f"{rest}, the last after epoch {warnings[-1][0]}"))
    yield Bullets(points)
