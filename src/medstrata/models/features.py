"""Features of stored images by a frozen encoder, with the sample numbers beside them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from medstrata.data.store.store import Store
from medstrata.data.view_settings import evaluation
from medstrata.data.views import Images, make_views
from medstrata.models.backbones import Backbone, Features
from medstrata.models.pooling import global_average_pool
from medstrata.models.preprocessing import Preprocessing
from medstrata.runtime.errors import MedstrataError

# The stages put side by side, as one layer to read from.
ALL_STAGES = "all"
# Any of the layers, as validation chooses.
BEST_LAYER = "best"

# At a time; of larger images than usual fewer, in the same memory.
_IMAGES, _USUAL_SIZE = 256, 224

# Picks tensors out of a network's output.
Select = Callable[[object], list[torch.Tensor]]


class StoredFeatures(NamedTuple):
    """Features of N images; rows of all arrays correspond."""

    rows: NDArray[np.int64]  # sample numbers, (N,)
    stages: dict[str, NDArray[np.float32]]  # globally pooled, each (N, C)
    pooled: NDArray[np.float32]  # (N, D)

    def at(self, rows: NDArray[np.int64]) -> "StoredFeatures":
        """The features of some of the images, in the order of `rows`; `self.rows` must ascend."""
        place = np.searchsorted(self.rows, rows)
        assert np.array_equal(self.rows[place], rows)
        stages = {stage: values[place] for stage, values in self.stages.items()}
        return StoredFeatures(rows, stages, self.pooled[place])

    def layers(self) -> dict[str, NDArray[np.float32]]:
        """Every stage by its name, and `pooled`."""
        return {**self.stages, "pooled": self.pooled}

    def layers_of(self, choice: str) -> list[str]:
        """The layers that a choice names: itself, or with `best` all there are.

        Raises:
            MedstrataError: there is no such layer.
        """
        every = ["pooled", *reversed(self.stages), ALL_STAGES]
        if choice not in (*every, BEST_LAYER):
            raise MedstrataError(
                f"no layer {choice!r}; there are {', '.join(every)} and {BEST_LAYER}"
            )
        return every if choice == BEST_LAYER else [choice]

    def layer(self, name: str) -> NDArray[np.float32]:
        """One of `layers()`, or all stages side by side: shape (N, D)."""
        if name == ALL_STAGES:
            return np.concatenate(list(self.stages.values()), axis=1)
        return self.layers()[name]


@torch.no_grad()
def forward_batch(
    network: nn.Module,
    images: Images,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    select: Select,
) -> list[NDArray[np.float32]]:
    """Pass some images through a network, whole and unaugmented.

    Args:
        network: Any network, in evaluation mode.
        images: Where the pixels are.
        rows: Which of them, shape (B,).
        preprocessing: What the network expects.
        device: Where the network is.
        select: Picks tensors, each (B, ...), out of the network's output.

    Returns:
        One array per picked tensor, shape (B, ...).
    """
    settings = evaluation(preprocessing.image_size)
    pixels, _ = make_views(images, rows, settings, seed=0, epoch=0, views=1, executor=None)
    output = network(preprocessing(torch.from_numpy(pixels[0]).to(device)))
    return [tensor.float().cpu().numpy() for tensor in select(output)]


def forward_all(
    network: nn.Module,
    store: Store,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    select: Select,
    *,
    advance: Callable[[int], None] | None = None,
) -> list[NDArray[np.float32]]:
    """Pass images through a network in evaluation mode, whole and unaugmented, each once.

    Args:
        network: Any network; its mode is restored afterwards.
        store: Where the pixels are.
        rows: Sample numbers, shape (N,), in the order wanted.
        preprocessing: As in `forward_batch`.
        device: As in `forward_batch`.
        select: As in `forward_batch`.
        advance: Called with the number of images after each batch.

    Returns:
        One array per picked tensor, shape (N, ...).
    """
    was_training = network.training
    network.eval()
    picked: list[list[NDArray[np.float32]]] = []
    batch_size = min(_IMAGES, _IMAGES * _USUAL_SIZE**2 // preprocessing.image_size**2)
    for part in store.batches(rows, max(1, batch_size)):
        picked.append(forward_batch(network, store, part, preprocessing, device, select))
        if advance is not None:
            advance(len(part))
    network.train(was_training)
    return [np.concatenate(arrays) for arrays in zip(*picked, strict=True)]


def single_output(output: object) -> list[torch.Tensor]:
    """The output of a network that gives one tensor."""
    assert isinstance(output, torch.Tensor)
    return [output]


def read_layer(features: Features, name: str) -> torch.Tensor:
    """What `StoredFeatures.layer` holds, of a batch: shape (B, D)."""
    if name == "pooled":
        return features.pooled
    chosen = features.stages if name == ALL_STAGES else {name: features.stages[name]}
    return torch.cat([global_average_pool(maps) for maps in chosen.values()], dim=1)


def pooled_layers(output: object) -> list[torch.Tensor]:
    """Every stage of a backbone's output, globally pooled to (B, C), and last `pooled` (B, D)."""
    assert isinstance(output, Features)
    return [*(global_average_pool(maps) for maps in output.stages.values()), output.pooled]


def layer_widths(backbone: Backbone) -> dict[str, int]:
    """The layers in the order of `pooled_layers`, and how many dimensions each has."""
    return {**backbone.stage_channels, "pooled": backbone.embed_dim}


def extract_features(
    backbone: Backbone,
    store: Store,
    rows: NDArray[np.int64],
    preprocessing: Preprocessing,
    device: torch.device,
    *,
    advance: Callable[[int], None] | None = None,
) -> StoredFeatures:
    """Globally pooled features of every stage, and what a classifier would read.

    Args:
        backbone: The encoder; its mode is restored afterwards.
        store: Where the pixels are.
        rows: Sample numbers, shape (N,), in the order wanted.
        preprocessing: What the encoder expects.
        device: Where the encoder is.
        advance: Called with the number of images after each batch.

    Returns:
        Float32 features of these rows, on the CPU.
    """
    *stages, pooled = forward_all(
        backbone, store, rows, preprocessing, device, pooled_layers, advance=advance
    )
    return StoredFeatures(rows, dict(zip(backbone.taps, stages, strict=True)), pooled)
