"""The sections on layers: probing, feature reuse, atlas, and what they lack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from medstrata.report.compare.compare import Bench
from medstrata.report.compare.places import Labels, LayerRun, Place, places
from medstrata.report.compare.stage_gaps import layer_gaps
from medstrata.report.read.facts import Note
from medstrata.report.read.runs import Collection
from medstrata.report.render.figures import Style
from medstrata.report.render.formatting import slug
from medstrata.report.render.tables import unique_names
from medstrata.report.sections.atlas import AtlasView, atlas_view
from medstrata.report.sections.probing import ProbingView, probing_view
from medstrata.report.sections.reuse import ReuseView, reuse_view


@dataclass(frozen=True, kw_only=True)
class LayerSections:
    """What the page shows of layers; a section without views is not shown."""

    probing: tuple[ProbingView, ...]
    reuse: tuple[ReuseView, ...]
    atlas: tuple[AtlasView, ...]
    notes: tuple[Note, ...]


def layer_sections(
    collection: Collection, benches: Sequence[Bench], labels: Labels, styles: Mapping[str, Style]
) -> LayerSections:
    """Everything the runs of kind probe, reuse and atlas show.

    Args:
        collection: What was read.
        benches: The comparisons of fine-tuning runs, whose arms every kind is held against.
        labels: (arm, backbone) -> the name under which it is shown.
        styles: Arm -> style.
    """
    probes, twice = places(collection.probe, labels)
    reuses, again = places(collection.reuse, labels)
    atlases, more = places(collection.atlas, labels)
    probing = [
        view
        for place, name in _named(probes, "probing")
        if (view := probing_view(place, styles, name)) is not None
    ]
    reuse = [reuse_view(place, styles, name) for place, name in _named(reuses, "reuse")]
    atlas = [atlas_view(place, styles, name) for place, name in _named(atlases, "atlas")]
    return LayerSections(
        probing=tuple(probing),
        reuse=tuple(view for view in reuse if view is not None),
        atlas=tuple(view for view, _ in atlas),
        notes=(
            *twice,
            *again,
            *more,
            *(note for view in probing for note in view.notes),
            *(note for _, unseen in atlas for note in unseen),
            *layer_gaps(probes, reuses, atlases, benches),
        ),
    )


def _named(found: Sequence[Place[LayerRun]], kind: str) -> list[tuple[Place[LayerRun], str]]:
    """Each place with the name its pictures and tables begin with."""
    names = unique_names(slug(place.task.name, place.store.name) for place in found)
    return [(place, f"{name}-{kind}") for place, name in zip(found, names, strict=True)]
