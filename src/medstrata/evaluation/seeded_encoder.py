"""An encoder for images that are known, its random weights a function of the seed."""

from dataclasses import dataclass
from pathlib import Path

from medstrata.data.store.store import Store
from medstrata.models.encoders import (
    LoadedEncoder,
    encoder_digest,
    load_encoder,
    with_image_size,
)
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.random_state import TorchRandomState


@dataclass(frozen=True)
class ImageFacts:
    """What an encoder that comes from no run is told of the images it will see.

    A store knows all of it; the defaults suit images of which nothing is known before they are
    read.

    Attributes:
        size: H and W in pixels.
        channels: 1 or 3.
        mean: Of each channel, pixel values scaled to 0..1.
        std: Likewise.
    """

    size: int = 224
    channels: int = 3
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


def seeded_encoder(
    encoder: EncoderSpec,
    images: Store | ImageFacts,
    *,
    backbone: str | None,
    image_size: int,
    random_state: TorchRandomState,
) -> LoadedEncoder:
    """Load an encoder for images; weights that are drawn are a function of a seed.

    Args:
        encoder: Which encoder.
        images: The store they lie in, or what is known of them.
        backbone: timm's name, for all but runs.
        image_size: Side of the input in pixels; 0 takes that which a run was trained with, for
            other encoders the images'.
        random_state: Random weights are drawn from it.

    Raises:
        MedstrataError: nothing can be loaded from what is named.
    """
    with random_state.in_use():
        loaded = load_encoder(
            encoder,
            backbone=backbone,
            image_size=image_size or images.size,
            channels=images.channels,
            store_stats=(images.mean, images.std),
        )
    if isinstance(images, Store):
        say_grey(loaded, images)
    return with_image_size(loaded, image_size) if image_size else loaded


def encoder_of_run(
    run: Path,
    recorded: str,
    digest: str,
    given: str | Path | EncoderSpec | None,
    images: Store | ImageFacts,
    *,
    backbone: str,
    image_size: int,
    random_state: TorchRandomState,
) -> LoadedEncoder:
    """The encoder that a run rests on, wherever it lies now; its digest proves that it is the one.

    Args:
        run: The run.
        recorded: Which encoder, as the run has it: a path starts from the run.
        digest: Of that encoder.
        given: Where it lies now; None where it was not moved.
        images: As in `seeded_encoder`.
        backbone: As there.
        image_size: As there.
        random_state: As there.

    Raises:
        MedstrataError: there is no encoder, or another one.
    """
    there = EncoderSpec.parse(recorded).resolved_from(run)
    spec = there if given is None else EncoderSpec.parse(given)
    if spec.path is not None and not spec.path.exists():
        raise MedstrataError(
            f"{run} rests on an encoder that is not at {spec.path}: name the place where it is now "
            "with --encoder"
        )
    loaded = seeded_encoder(
        spec, images, backbone=backbone, image_size=image_size, random_state=random_state
    )
    if encoder_digest(loaded) != digest:
        raise MedstrataError(
            f"{run} was fitted on another encoder than {spec} is now; name that one with "
            "--encoder, or fine-tune again"
        )
    return loaded


def say_grey(loaded: LoadedEncoder, store: Store) -> None:
    """Say it where an encoder takes grey images and those of a store have colour."""
    if loaded.preprocessing.channels < store.channels:
        say(
            f"{loaded.arm} takes grey images: the colour images of {store.location} are turned grey"
        )
