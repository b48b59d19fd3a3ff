"""Features of any images by a trained encoder, as a file."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from medstrata.data.formats.read_settings import Axis, ReadSettings
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.resize import FITS
from medstrata.data.store.store import Store
from medstrata.evaluation.classifier import load_classifier
from medstrata.evaluation.setup import seeded_encoder
from medstrata.inference.feature_file import check_suffix, feature_file
from medstrata.inference.forward import Tally, pass_images, quarantine_beside
from medstrata.inference.inputs import find_inputs
from medstrata.models.encoders import LoadedEncoder, encoder_digest
from medstrata.models.features import every_layer
from medstrata.models.preprocessing import Preprocessing
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True)
class _Unseen:
    """Images of which nothing is known before they are read: colour, values in 0..1."""

    size: int = 224
    channels: int = 3
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)


def embed(
    encoder: str | Path | EncoderSpec,
    source: Store | Path | str,
    out: Path | str,
    *,
    stages: Sequence[str] = ("pooled",),
    backbone: str | None = None,
    image_size: int = 0,
    fit: str = "pad",
    window: str = "first",
    frames: str = "middle",
    axis: Axis = "axial",
    batch_size: int = 256,
    strict: bool = False,
    seed: int = 0,
    workers: int | None = None,
) -> Path:
    """Write the features of every image of a source.

    Files are prepared as `prepare` would for a store of the encoder's image size.

    Args:
        encoder: A run of `pretrain` or `finetune`, `scratch`, `imagenet`, or `imagenet=FILE`.
        source: A store, a folder of images, one image, or "-" for paths on standard input.
        out: File to write; .parquet or .npz, see `feature_files`.
        stages: "pooled" (what a classifier reads), "stage1" to "stage4" (globally averaged), or
            "all" of them.
        backbone: timm's name, for `scratch` and `imagenet`.
        image_size: Side in pixels, for `scratch` and `imagenet`; 0 takes the store's, else 224.
        fit: For files, as in `prepare`.
        window: For files, as in `prepare`.
        frames: For files, as in `prepare`; of several images of a file, ids end in "#" and the
            number.
        axis: For files, as in `prepare`.
        batch_size: Images at a time.
        strict: Fail when an image cannot be read, after everything else has been written.
        seed: Of the weights of `scratch`.
        workers: Decoding threads; by default one a core.

    Returns:
        The file. Images that cannot be read are listed in `<name of the file>.quarantine.csv`
        beside it.

    Raises:
        MedstrataError: the encoder, the source or a stage does not exist, or nothing can be read.
    """
    out = Path(out)
    check_suffix(out)
    reading = ReadSettings(window=window, frames=frames, axis=axis)
    inputs = find_inputs(source)
    stored = inputs if isinstance(inputs, Store) else None
    loaded = open_encoder(encoder, stored, backbone=backbone, image_size=image_size, seed=seed)
    wanted = pick_layers(loaded, stages)
    form = form_for(loaded.preprocessing, fit, reading)
    if stored is None:
        say(f"images are prepared as by `medstrata prepare --size {form.size} --fit {form.fit}`")
    metadata: dict[str, Any] = {
        "encoder": loaded.arm,
        "architecture": loaded.architecture,
        "digest": encoder_digest(loaded),
        "preprocessing": asdict(loaded.preprocessing),
        **({"preparation": asdict(form)} if stored is None else {"store": stored.digest}),
    }
    tally = Tally(quarantine_beside(out))
    passed = pass_images(
        inputs,
        loaded.backbone,
        loaded.preprocessing,
        form,
        lambda output: [every_layer(output)[place] for place in wanted.values()],
        tally,
        words=f"features of {loaded.arm}",
        batch_size=batch_size,
        workers=workers,
    )
    widths = {name: layer_widths(loaded)[name] for name in wanted}
    with closing(passed), feature_file(out, widths, metadata) as file:
        for rows in passed:
            file.write(rows.ids, rows.patients, rows.kept)
        tally.write()
        tally.require_some()
    tally.judge(strict)
    say(f"{', '.join(wanted)} of {tally.done} images in {out}")
    return out


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
        backbone: As in `embed`.
        image_size: As in `embed`.
        seed: As in `embed`.

    Raises:
        MedstrataError: nothing can be loaded from what is named.
    """
    spec = EncoderSpec.parse(encoder)
    if spec.path is not None and (spec.path / "exported" / "model.json").is_file():
        return load_classifier(spec.path).loaded
    with torch.random.fork_rng(devices=[]):
        return seeded_encoder(
            spec, store or _Unseen(), backbone=backbone, image_size=image_size, seed=seed
        )


def form_for(preprocessing: Preprocessing, fit: str, reading: ReadSettings) -> StoreFormat:
    """The form of a store of the encoder's own image size and channels.

    Raises:
        MedstrataError: there is no such fit.
    """
    if fit not in FITS:
        raise MedstrataError(f"fit {fit!r} must be one of {', '.join(FITS)}")
    return StoreFormat(preprocessing.image_size, preprocessing.channels, fit, reading)


def layer_widths(loaded: LoadedEncoder) -> dict[str, int]:
    """The layers that can be had, in the order of `every_layer`, and their dimensions."""
    return {**loaded.backbone.stage_channels, "pooled": loaded.backbone.embed_dim}


def pick_layers(loaded: LoadedEncoder, stages: Sequence[str]) -> dict[str, int]:
    """The places in `every_layer` of the layers asked for, in the order of the layers.

    Raises:
        MedstrataError: the encoder has no such layer.
    """
    names = list(layer_widths(loaded))
    unknown = [name for name in stages if name not in (*names, "all")]
    if unknown or not stages:
        raise MedstrataError(f"no stage {', '.join(unknown)}; there are {', '.join(names)}, all")
    return {name: place for place, name in enumerate(names) if name in stages or "all" in stages}
