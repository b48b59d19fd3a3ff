"""Which encoder a weights file holds: its layout, its prefix, its tensors under timm's names."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from medstrata.models.importing.layouts import (
    HEADS,
    LAYOUTS,
    SPELLINGS,
    WRAPPERS,
    Layout,
)
from medstrata.models.importing.read_tensors import read_tensors
from medstrata.models.preprocessing import Normalisation
from medstrata.runtime.errors import MedstrataError

# A second place with this share of the tensors of the first could as well be meant.
_RIVAL = 0.5


class EncoderInFile(NamedTuple):
    """An encoder in a file."""

    path: Path
    layout: str
    encoder: str  # its name within the layout; empty where there is only one
    others: tuple[str, ...]  # encoders that were not taken
    prefix: str
    as_named: dict[str, Tensor]  # by the names within the prefix, heads still there
    state: dict[str, Tensor]  # the same by timm's names, where another program's are recognised
    normalisation: Normalisation
    cautions: tuple[str, ...]
    places: tuple[str, ...]  # of every tensor in the file

    @property
    def described(self) -> str:
        """The layout in words, for messages."""
        return f"{self.layout} layout" + (f", {self.encoder} encoder" if self.encoder else "")


def find_encoder(
    path: Path, *, prefix: str | None = None, encoder: str | None = None
) -> EncoderInFile:
    """Find the encoder in a weights file.

    Args:
        path: Safetensors, or what torch.save wrote.
        prefix: What the names of its tensors begin with; None recognises the layout.
        encoder: Which of several, such as `key`; None takes the layout's default.

    Raises:
        MedstrataError: the file cannot be read, or does not hold what is asked for.
    """
    content = _unwrapped(path, read_tensors(path))
    tensors = {place: value for place, value in content.items() if value is not None}
    if not tensors:
        raise MedstrataError(f"{path} holds no state dict of tensors; give the weights alone")
    if prefix is not None and encoder is not None:
        raise MedstrataError("give a prefix or an encoder, not both")
    if prefix is None:
        layout = next(one for one in LAYOUTS if _recognised(one, content))
    else:
        layout = Layout("prefix", (), (("", r"(?:[^/]+/)*" + re.escape(_bare(prefix))),))
    prefixes = _prefixes(path, layout, tensors)
    chosen = encoder or next(iter(prefixes))
    if chosen not in prefixes:
        there = ", ".join(prefixes)
        raise MedstrataError(f"{path} ({layout.name} layout) has no {chosen} encoder, but {there}")
    start = prefixes[chosen]
    inside = {place.removeprefix(start): tensor for place, tensor in _under(tensors, start).items()}
    state, cautions = _respelled(inside)
    # Of a plain state there is one, unless an average of it is there too.
    several = len(prefixes) > 1 or (len(layout.encoders) > 1 and layout.name != "plain")
    return EncoderInFile(
        path=path,
        layout=layout.name,
        encoder=chosen if several else "",
        others=tuple(name for name in prefixes if name != chosen),
        prefix=start,
        as_named=inside,
        state=state,
        normalisation=layout.normalisation,
        cautions=cautions,
        places=tuple(tensors),
    )


def read_own_encoder(path: Path) -> EncoderInFile:
    """The encoder in a file that this program wrote, whose names are timm's by construction.

    Nothing is recognised by its names: EfficientNet's blocks are named as DINOv2's chunks are.

    Raises:
        MedstrataError: the file cannot be read.
    """
    tensors = {name: value for name, value in read_tensors(path).items() if value is not None}
    return EncoderInFile(
        path=path,
        layout="plain",
        encoder="",
        others=(),
        prefix="",
        as_named=tensors,
        state=tensors,
        normalisation="none",
        cautions=(),
        places=tuple(tensors),
    )


def is_head(name: str) -> bool:
    """Whether a tensor belongs to what stands behind an encoder."""
    return re.match(HEADS, name) is not None


def _bare(place: str) -> str:
    return re.sub(WRAPPERS, "", place)


def _unwrapped(path: Path, content: Mapping[str, Tensor | None]) -> dict[str, Tensor | None]:
    bare = {_bare(place): value for place, value in content.items()}
    if len(bare) < len(content):
        raise MedstrataError(f"{path} holds tensors with and without `module.`; save one of them")
    return bare


def _recognised(layout: Layout, content: Mapping[str, Tensor | None]) -> bool:
    return all(any(re.match(sign, place) for place in content) for sign in layout.signs)


def _prefixes(path: Path, layout: Layout, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Where each encoder of a layout lies, those that are there, the default first."""
    found = {name: _place(path, pattern, tensors) for name, pattern in layout.encoders}
    prefixes = {name: place for name, place in found.items() if place is not None}
    if not prefixes:
        shown = ", ".join(list(tensors)[:3])
        raise MedstrataError(
            f"{path} has no encoder where the {layout.name} layout has it; its tensors are {shown}"
            "...; give the --prefix of the encoder's"
        )
    return prefixes


def _under(tensors: Mapping[str, Tensor], start: str) -> dict[str, Tensor]:
    """Tensors whose place begins so and lies in no further container."""
    return {
        place: tensor
        for place, tensor in tensors.items()
        if place.startswith(start) and "/" not in place[len(start) :]
    }


def _place(path: Path, pattern: str, tensors: Mapping[str, Tensor]) -> str | None:
    """The one prefix of this pattern in the file, None where there is none.

    Raises:
        MedstrataError: several places fit the pattern.
    """
    counted: Counter[str] = Counter()
    for place in tensors:
        matched = re.match(pattern, place)
        if matched and "/" not in place[matched.end() :]:
            counted[matched[0]] += 1
    if not counted:
        return None
    (first, most), *rest = counted.most_common()
    rivals = [place for place, count in rest if count >= _RIVAL * most]
    if rivals:
        listed = ", ".join(repr(place) for place in (first, *rivals))
        raise MedstrataError(f"{path} has several encoders, under {listed}; add --prefix")
    return first


def _respelled(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The state by timm's names, and what must be said of how it was named."""
    renamed, cautions = dict(state), []
    for spelling in SPELLINGS:
        if not any(re.match(spelling.sign, name) for name in renamed):
            continue
        turned = {_rename(name, spelling.renames): one for name, one in renamed.items()}
        if len(turned) < len(renamed):
            continue  # two tensors would get one name: they are named alike by chance
        if spelling.caution:
            cautions.append(spelling.caution)
        renamed = turned
    return renamed, tuple(cautions)


def _rename(name: str, renames: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in renames:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name, count=1)
    return name
