"""Features of any images by a trained encoder, as a file."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.settings import Fit
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import load_classifier
from medstrata.evaluation.seeded_encoder import ImageFacts, say_grey, seeded_encoder
from medstrata.inference.feature_file import check_suffix, feature_file
from medstrata.inference.forward import Quarantine, forward_batches, quarantine_beside
from medstrata.inference.inputs import image_batches, open_inputs, say_preparation
from medstrata.inference.settings import EmbedSettings
from medstrata.models.encoders import LoadedEncoder, encoder_digest
from medstrata.models.features import layer_widths, pooled_layers
from medstrata.models.preprocessing import Preprocessing
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.process_state import preserve_process_state
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream


def embed(
    encoder: str | Path | EncoderSpec,
    source: Store | Path | str,
    out: Path | str,
    settings: EmbedSettings | None = None,
    *,
    backbone: str | None = None,
) -> Path:
    """Write the features of every image of a source.

    Files are prepared as `prepare` would for a store of the encoder's image size.

    Args:
        encoder: A run of `pretrain` or `finetune`, `scratch`, `imagenet`, or `imagenet=FILE`.
        source: A store, a folder of images, one image, or "-" for paths on standard input.
        out: File to write; .parquet or .npz, see `feature_file`.
        settings: Which features, and how images are prepared.
        backbone: timm's name, for `scratch` and `imagenet`.

    Returns:
        The file. Images that cannot be read are listed in `<name of the file>.quarantine.csv`
        beside it.

    Raises:
        MedstrataError: the encoder, the source or a stage does not exist, or nothing can be read.
    """
    settings, out = settings or EmbedSettings(), Path(out)
    check_suffix(out)
    inputs = open_inputs(source, follow_links=settings.follow_links)
    stored = inputs if isinstance(inputs, Store) else None
    loaded = open_encoder(
        encoder, stored, backbone=backbone, image_size=settings.image_size, seed=settings.seed
    )
    wanted = pick_layers(loaded, settings.stages)
    form = form_for(loaded.preprocessing, settings.fit, settings.reading)
    if stored is None:
        say_preparation(form)
    metadata: dict[str, Any] = {
        "encoder": loaded.arm,
        "architecture": loaded.architecture,
        "digest": encoder_digest(loaded),
        "preprocessing": asdict(loaded.preprocessing),
        **({"preparation": asdict(form)} if stored is None else {"store": stored.digest}),
    }
    quarantine = Quarantine(quarantine_beside(out))
    batches = forward_batches(
        image_batches(inputs, form, settings.batch_size, settings.workers),
        loaded.backbone,
        loaded.preprocessing,
        lambda output: [pooled_layers(output)[place] for place in wanted.values()],
        quarantine,
        title=f"features of {loaded.arm}",
    )
    widths = {name: layer_widths(loaded.backbone)[name] for name in wanted}
    with closing(batches), feature_file(out, widths, metadata) as file:
        for batch in batches:
            file.write(batch.ids, batch.patients, batch.values)
        quarantine.write()
    quarantine.conclude(settings.strict)
    say(f"{', '.join(wanted)} of {quarantine.done} images in {out}")
    return out


@preserve_process_state()
def open_encoder(
    encoder: str | Path | EncoderSpec,
    store: Store | None,
    *,
    backbone: str | None = None,
    image_size: int = 0,
    seed: int = 0,
) -> LoadedEncoder:
    """Load an encoder to use it; the caller's random numbers do not move.

    Args:
        encoder: A run of `pretrain` or `finetune`, `scratch`, `imagenet`, or `imagenet=FILE`.
        store: The images, where they lie in one.
        backbone: timm's name, for `scratch` and `imagenet`.
        image_size: As in `EmbedSettings`.
        seed: As in `EmbedSettings`.

    Raises:
        MedstrataError: nothing can be loaded from what is named.
    """
    spec = EncoderSpec.parse(encoder)
    if spec.path is not None and (spec.path / "exported" / "model.json").is_file():
        loaded = load_classifier(spec.path).loaded
        if store is not None:
            say_grey(loaded, store)
        return loaded
    return seeded_encoder(
        spec,
        store or ImageFacts(),
        backbone=backbone,
        image_size=image_size,
        random_state=TorchRandomState(Stream.EVALUATED_WEIGHTS, seed),
    )


def form_for(preprocessing: Preprocessing, fit: Fit, reading: ReadSettings) -> StoreFormat:
    """The form of a store of the encoder's own image size and channels."""
    return StoreFormat(preprocessing.image_size, preprocessing.channels, fit, reading)


def pick_layers(loaded: LoadedEncoder, stages: Sequence[str]) -> dict[str, int]:
    """The places in `pooled_layers` of the layers asked for, in the order of the layers.

    Raises:
        MedstrataError: the encoder has no such layer.
    """
    names = list(layer_widths(loaded.backbone))
    unknown = [name for name in stages if name not in (*names, "all")]
    if unknown:
        raise MedstrataError(f"no stage {', '.join(unknown)}; there are {', '.join(names)}, all")
    return {name: place for place, name in enumerate(names) if name in stages or "all" in stages}
