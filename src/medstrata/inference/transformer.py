"""A trained encoder as a scikit-learn transformer.

Legend: N images, H W height and width, C channels, D features.
"""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.decode import StoreFormat
from medstrata.data.prepare.resize import fit_square
from medstrata.data.prepare.settings import Fit
from medstrata.inference.embed import form_for, open_encoder, pick_layers
from medstrata.inference.inputs import Files, ImageBatch, ImageFile, UnreadableImage, image_batches
from medstrata.models.encoders import LoadedEncoder
from medstrata.models.features import forward_batch, layer_widths, pooled_layers
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.devices import evaluation_device
from medstrata.runtime.errors import MedstrataError


# Inheritance is how scikit-learn knows its own: clone, pipelines and set_output come with it.
class Encoder(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Turn images into features, inside a scikit-learn pipeline; there is nothing to fit.

    Weights are loaded when they are first needed and never pickled: a copy or a pickle holds the
    parameters below and loads them again.

    Args:
        encoder: A run of `pretrain` or `finetune`, `scratch`, `imagenet`, or `imagenet=FILE`.
        stage: "pooled", "stage1" to "stage4", or "all" side by side.
        backbone: timm's name, for `scratch` and `imagenet`.
        image_size: Side in pixels; 0 is that of a run, for others 224.
        fit_images: How images that are not square are made so: `fit` of `prepare`.
        window: Of deep grey values in files, as in `prepare`.
        batch_size: Images at a time.
        seed: Of the weights of `scratch`.
    """

    def __init__(
        self,
        encoder: str | Path | EncoderSpec,
        *,
        stage: str = "pooled",
        backbone: str | None = None,
        image_size: int = 0,
        fit_images: Fit = "pad",
        window: str = "first",
        batch_size: int = 256,
        seed: int = 0,
    ) -> None:
        self.encoder = encoder
        self.stage = stage
        self.backbone = backbone
        self.image_size = image_size
        self.fit_images = fit_images
        self.window = window
        self.batch_size = batch_size
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> "Encoder":  # noqa: N803, ARG002  (scikit-learn's names)
        """Do nothing: the encoder has been trained."""
        return self

    def transform(
        self,
        X: Sequence[str | Path] | NDArray[Any],  # noqa: N803
    ) -> NDArray[np.float32]:
        """Features of images.

        Args:
            X: Paths of image files, shape (N,), or pixels, uint8, shape (N, H, W) or (N, H, W, C)
                with C 1 or 3 (RGB).

        Returns:
            Shape (N, D).

        Raises:
            MedstrataError: an image cannot be read, or the encoder cannot be loaded.
        """
        loaded = self._load()
        places = pick_layers(loaded, [self.stage]).values()
        form = form_for(loaded.preprocessing, self.fit_images, ReadSettings(window=self.window))
        # Without images there are no rows, but as many columns.
        features = [np.empty((0, len(self.get_feature_names_out())), dtype=np.float32)]
        pixels = isinstance(X, np.ndarray) and X.dtype.kind in "uif"
        batches = _pixel_batches if pixels else _path_batches
        for batch in batches(X, form, self.batch_size):
            if isinstance(batch, UnreadableImage):
                raise MedstrataError(f"{batch.id} cannot be read ({batch.reason}): leave it out")
            layers = forward_batch(
                loaded.backbone,
                batch.images,
                batch.rows,
                loaded.preprocessing,
                evaluation_device(),
                lambda output: [pooled_layers(output)[place] for place in places],
            )
            features.append(np.concatenate(layers, axis=1))
        return np.concatenate(features)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """The stage and number of each feature, shape (D,)."""
        loaded = self._load()
        widths = layer_widths(loaded.backbone)
        names = [
            f"{name}_{number}"
            for name in pick_layers(loaded, [self.stage])
            for number in range(widths[name])
        ]
        return np.asarray(names, dtype=object)

    def _load(self) -> LoadedEncoder:
        wanted = (str(self.encoder), self.backbone, self.image_size, self.seed)
        kept = self.__dict__.get("_kept")
        if kept is None or kept[0] != wanted:
            loaded = open_encoder(
                self.encoder,
                None,
                backbone=self.backbone,
                image_size=self.image_size,
                seed=self.seed,
            )
            loaded.backbone.to(evaluation_device()).eval()
            kept = self._kept = (wanted, loaded)
        encoder: LoadedEncoder = kept[1]
        return encoder

    def __getstate__(self) -> dict[str, Any]:
        state = copy.copy(super().__getstate__())
        state.pop("_kept", None)
        return dict(state)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.no_validation = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _path_batches(
    paths: Any, form: StoreFormat, batch_size: int
) -> Iterator[ImageBatch | UnreadableImage]:
    named = [ImageFile(str(path), Path(path)) for path in paths]
    return image_batches(Files(named, len(named), []), form, batch_size).batches


def _pixel_batches(
    images: Any, form: StoreFormat, batch_size: int
) -> Iterator[ImageBatch | UnreadableImage]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or images.shape[3:] not in _SHAPES:
        raise MedstrataError(
            f"pixels of type {images.dtype} and shape {images.shape}: give uint8 (N, H, W) or "
            "(N, H, W, C) with 1 or 3 channels, or paths"
        )
    if images.shape[3:] == (1,):
        images = images[..., 0]
    for start in range(0, len(images), batch_size):
        part = images[start : start + batch_size]
        squares = [fit_square(image, form.size, form.channels, form.fit)[0] for image in part]
        names = [str(start + place) for place in range(len(part))]
        yield ImageBatch(names, None, np.stack(squares), np.arange(len(part)))


_SHAPES = ((), (1,), (3,))
