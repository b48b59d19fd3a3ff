"""The sections on layers: probing, feature reuse, atlas, and what they lack."""

from collections.abc import Mapping, Sequence
from typing import Any

from medstrata.report.compare.comparison import Comparison, comparisons
from medstrata.report.compare.gaps import layer_gaps
from medstrata.report.read.facts import Note
from medstrata.report.read.results import Atlas, Finetune, Probe, Reuse
from medstrata.report.read.runs import Collection
from medstrata.report.render.figures import Style
from medstrata.report.render.parts import Section
from medstrata.report.sections.atlas import atlas_section
from medstrata.report.sections.probing import probing_section
from medstrata.report.sections.reuse import reuse_section


def layer_sections(
    collection: Collection, tuned: Sequence[Comparison[Finetune]], styles: Mapping[str, Style]
) -> tuple[list[Section | None], list[Note]]:
    """Everything the runs of kind probe, reuse and atlas show; None stands for an empty section.

    Args:
        collection: What was read.
        tuned: The comparisons of fine-tuning runs, whose arms every kind is held against.
        styles: Arm -> style.
    """
    probes, twice = comparisons(collection.of(Probe))
    reuses, again = comparisons(collection.of(Reuse))
    atlases, more = comparisons(collection.of(Atlas))
    atlas, unseen = atlas_section(atlases, styles)
    read_outs = {one.place: next(iter(one.read_outs.values()), None) for one in probes}
    kinds: Mapping[str, Sequence[Comparison[Any]]] = {
        "layer-wise probing": probes,
        "feature reuse": reuses,
        "atlas": atlases,
    }
    notes = [
        *(*twice, *again, *more),
        *(note for one in read_outs.values() if one for note in one.notes),
        *unseen,
        *layer_gaps(kinds, tuned),
    ]
    return [probing_section(probes, styles), reuse_section(reuses, styles), atlas], notes
