"""Giving a model the tensors of a file: all that it has, or none of them."""

from typing import Any, NamedTuple

import timm
import torch
from torch import Tensor

from medstrata.models.importing.architecture import guess_architecture
from medstrata.models.importing.conversions import (
    architecture_of,
    convert_state_dict,
    first_convolution,
    timm_config,
)
from medstrata.models.importing.find_encoder import EncoderInFile, is_head
from medstrata.runtime.errors import MedstrataError

_SHOWN = 3  # names in a message
# Networks whose tensors fit a timm model that computes something else: layout, width of a token.
_TWELVE_HEADS = ("MoCo v3", 384)


class Match(NamedTuple):
    """What was matched, in words."""

    matched: int  # tensors of the encoder that the model has now
    total: int  # tensors of the encoder in the file
    dropped: tuple[str, ...]
    line: str
    notes: tuple[str, ...]  # what was converted, which other encoders there are
    cautions: tuple[str, ...]  # what could make the outputs differ all the same


def match(model: Any, found: EncoderInFile) -> Match:
    """Load an encoder that was found into a timm model; every tensor must be there and fit.

    Args:
        model: A timm model without classifier; changed only on success.
        found: The encoder.

    Raises:
        MedstrataError: a tensor is missing, has another shape or kind, or is not known.
    """
    expected: dict[str, Tensor] = model.state_dict()
    # Names that are all there mean themselves, though another program has such ones as well:
    # EfficientNet's blocks are named as DINOv2's chunks are.
    given = found.as_named if expected.keys() <= found.as_named.keys() else found.state
    state, notes = convert_state_dict(given, model)
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    unknown = sorted(name for name in extra if not is_head(name))
    wrong = [name for name in expected if name in state and not _fits(state[name], expected[name])]
    if missing or unknown or wrong:
        raise MedstrataError(_misfit(model, found, state, (missing, unknown, wrong)))
    # As the model will hold them: a value may be finite in the file and too large for float32.
    state = {name: state[name].to(one.dtype) for name, one in expected.items()}
    damaged = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
    if damaged:
        raise MedstrataError(f"{found.path} holds NaN or infinity ({_listed(damaged)})")
    model.load_state_dict(state, strict=True)
    dropped = tuple(name for name in given if name in extra)
    count = sum(name in expected for name in given)
    line = (
        f"matched {count} of {len(given)}, dropped {_listed(dropped)}, missing none "
        f"({found.described})"
    )
    if found.others:
        notes.append(f"also in the file: encoder {', '.join(found.others)} (--encoder takes it)")
    cautions = found.cautions
    if (found.layout, getattr(model, "embed_dim", None)) == _TWELVE_HEADS:
        cautions += (
            "MoCo v3's ViT-Small has 12 heads and timm's 6; the tensors fit, the features differ",
        )
    return Match(count, len(given), dropped, line, tuple(notes), cautions)


def channels_of(found: EncoderInFile, backbone: str) -> int | None:
    """Channels of the images that an encoder was trained on, where its first layer is known."""
    weight = found.state.get(first_convolution(backbone) or "")
    return None if weight is None or weight.ndim != 4 else int(weight.shape[1])


def _fits(tensor: Tensor, wanted: Tensor) -> bool:
    return tensor.shape == wanted.shape and (
        tensor.is_floating_point() == wanted.is_floating_point() and not tensor.is_complex()
    )


def _misfit(
    model: Any, found: EncoderInFile, state: dict[str, Tensor], faults: tuple[list[str], ...]
) -> str:
    missing, unknown, wrong = faults
    expected = model.state_dict()
    name = architecture_of(model) or "the backbone"
    shapes = [f"{one} {tuple(state[one].shape)} not {tuple(expected[one].shape)}" for one in wrong]
    words = (
        f"{found.path} does not fit {name} ({found.described}): missing {_count(missing)}, "
        f"of other shape {_count(shapes)}, unknown {_count(unknown)}; "
    )
    if not missing and not unknown and (size := _own_size(model, state)):
        return (
            f"{found.path} is a {name} for images of {size} pixels, and cannot be brought to "
            f"another size: give that one (import-weights --image-size {size}, finetune "
            f"--views.size {size})"
        )
    like = guess_architecture(state)
    if like == "a 3D network":
        return words + "it looks like a 3D network, and backbones here are 2D"
    if like and like != f"a {name}":
        return words + f"it looks like {like}: give that as the backbone"
    if len(missing) == len(expected) and (prefixes := _prefixes(model, found)):
        return words + f"its encoder lies under {' or '.join(prefixes)}: give that as the prefix"
    return words + "give the backbone that it was trained as, or the prefix of its tensors"


def _own_size(model: Any, state: dict[str, Tensor]) -> int | None:
    """The side in pixels that a network was made for, where a state fits it there."""
    name = architecture_of(model)
    config = timm_config(name)
    if config is None or not config.fixed_input_size:
        return None
    size = int(config.input_size[-1])
    with torch.device("meta"):
        native = timm.create_model(name, num_classes=0, img_size=size).state_dict()
    # The first layer's channels are another matter.
    first = first_convolution(name)
    fits = all(one == first or _fits(state[one], wanted) for one, wanted in native.items())
    return size if fits else None


def _prefixes(model: Any, found: EncoderInFile) -> list[str]:
    """Under which prefixes the file has every tensor of the model."""
    names, first = set(model.state_dict()), first_convolution(architecture_of(model))
    starts = [
        place.removesuffix(str(first)) for place in found.places if place.endswith(f".{first}")
    ]
    return [one for one in starts if names <= {place.removeprefix(one) for place in found.places}]


def _count(names: list[str]) -> str:
    return f"{len(names)} ({_listed(names)})" if names else "0"


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more
