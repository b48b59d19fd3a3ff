"""How views are drawn: the settings and the named presets. Imports nothing heavy."""

from dataclasses import dataclass, replace
from typing import Literal

from medstrata.runtime.errors import require, require_choices

Modality = Literal["chest", "histopathology", "retina"]

# Deviations of the blur of MoCo v2, in pixels; it is published for views of 224.
_BLUR_PX = (0.1, 2.0)
_PUBLISHED_PX = 224


def _share(pixels: tuple[float, float], size: int) -> tuple[float, float]:
    low, high = pixels
    return low / size, high / size


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """Ranges and probabilities from which the parameters of a view are drawn.

    The steps run in this order: crop and resize, colour jitter, greyscale, blur, rotation, flips.
    The defaults do nothing at random: the whole image, resized.

    Args:
        size: Side of the square view, in pixels; 0 takes the side of the stored images.
        crop_scale: Lowest and highest share of the image's area that a crop keeps, each in
            (0, 1]; None keeps the whole image.
        crop_ratio: Lowest and highest width / height of a crop, each above 0.
        horizontal_flip: Probability of mirroring left and right, in [0, 1].
        vertical_flip: Probability of mirroring top and bottom, in [0, 1].
        rotation: Largest angle to either side in degrees, in [0, 180]; corners are filled with 0.
        brightness: x draws a factor from [max(0, 1 - x), 1 + x]; 0 or more, 0 turns it off.
        contrast: As brightness, for the distance to the mean grey of the image.
        saturation: As brightness, for the distance of each pixel to its own grey.
        hue: x draws a shift from [-x, x] in turns of the colour circle, in [0, 0.5].
        jitter_probability: Probability of the four colour changes together, in [0, 1].
        grey_probability: Probability of dropping the colours (three equal channels stay), in
            [0, 1].
        blur_probability: Probability of the Gaussian blur, in [0, 1].
        blur_sigma: Lowest and highest standard deviation of the blur as a share of the view's
            side, each in (0, 0.25]: 0.01 is 2.24 pixels of 224.

    Raises:
        ValueError: A value is outside its range.
    """

    size: int = 0
    crop_scale: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    horizontal_flip: float = 0.0
    vertical_flip: float = 0.0
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    jitter_probability: float = 1.0
    grey_probability: float = 0.0
    blur_probability: float = 0.0
    blur_sigma: tuple[float, float] = _share(_BLUR_PX, _PUBLISHED_PX)

    def __post_init__(self) -> None:
        require_choices(self)
        require(self.size >= 0, self, "size", "0 or more")
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            require(0 <= value <= highest, self, name, f"from 0 to {highest:g}")
        for name, highest in _HIGHEST_OF_PAIRS.items():
            pair = getattr(self, name)
            allowed = f"low, then high, both above 0 and at most {highest:g}"
            require(pair is None or 0 < pair[0] <= pair[1] <= highest, self, name, allowed)


_HIGHEST = {
    "horizontal_flip": 1.0,
    "vertical_flip": 1.0,
    "rotation": 180.0,
    "brightness": float("inf"),
    "contrast": float("inf"),
    "saturation": float("inf"),
    "hue": 0.5,
    "jitter_probability": 1.0,
    "grey_probability": 1.0,
    "blur_probability": 1.0,
}
_HIGHEST_OF_PAIRS = {"crop_scale": 1.0, "crop_ratio": float("inf"), "blur_sigma": 0.25}


def evaluation(size: int) -> ViewSettings:
    """The whole image, resized, with nothing random."""
    return ViewSettings(size=size)


def mild(size: int) -> ViewSettings:
    """Light changes for fine-tuning: most of the image, small turns, some light and contrast."""
    return ViewSettings(
        size=size,
        crop_scale=(0.7, 1.0),
        horizontal_flip=0.5,
        rotation=10.0,
        brightness=0.2,
        contrast=0.2,
    )


def moco_v2(size: int) -> ViewSettings:
    """The views of MoCo v2, its blur as at 224 pixels whatever the size.

    Source: Chen et al. 2020, arXiv:2003.04297, and the code published with it.
    """
    return ViewSettings(
        size=size,
        crop_scale=(0.2, 1.0),
        horizontal_flip=0.5,
        brightness=0.4,
        contrast=0.4,
        saturation=0.4,
        hue=0.1,
        jitter_probability=0.8,
        grey_probability=0.2,
        blur_probability=0.5,
    )


def views_for_modality(modality: Modality | None, size: int = 0) -> ViewSettings:
    """Pre-training views for a kind of images; those of MoCo v2 where none is named.

    Chosen on validation of one chest and one histopathology set at 32 pixels with few labels
    (docs/project/log.md): chest X-rays gain by crops of half the image or more and bear a strong
    blur, stained tissue loses what tells it apart under more than a soft one. Nothing was measured
    for the retina, which keeps the views of MoCo v2.
    """
    match modality:
        case "chest":
            return replace(moco_v2(size), crop_scale=(0.5, 1.0), blur_sigma=(0.003, 0.06))
        case "histopathology":
            return replace(moco_v2(size), blur_sigma=(0.003, 0.022), vertical_flip=0.5)
        case _:
            return moco_v2(size)


def _paper(size: int) -> ViewSettings:
    """As MoCo v2, its blur in pixels whatever the size, as the authors' code has it."""
    return replace(moco_v2(size), blur_sigma=_share(_BLUR_PX, size))


def paper_chest(size: int) -> ViewSettings:
    """Pre-training views of chest X-rays: colour, blur and turns of the whole image.

    Source: Kaku et al. 2021, arXiv:2110.14805, and the code published with it.
    """
    return replace(_paper(size), crop_scale=None, horizontal_flip=0.0, rotation=30.0)


def paper_chest_finetune(size: int) -> ViewSettings:
    """Fine-tuning views of chest X-rays: those of pre-training. Source: as `paper_chest`."""
    return paper_chest(size)


def paper_histopathology(size: int) -> ViewSettings:
    """Pre-training views of histopathology: crops of .4 to 1. Source: as `paper_chest`."""
    return replace(_paper(size), crop_scale=(0.4, 1.0))


def paper_histopathology_finetune(size: int) -> ViewSettings:
    """Fine-tuning views of histopathology: smaller crops, and turns. Source: as `paper_chest`."""
    return replace(paper_histopathology(size), crop_scale=(0.2, 1.0), rotation=30.0)


def paper_retina(size: int) -> ViewSettings:
    """Pre-training views of the retina: chest views and a flip. Source: as `paper_chest`."""
    return replace(paper_chest(size), horizontal_flip=0.5)


def paper_retina_finetune(size: int) -> ViewSettings:
    """Fine-tuning views of the retina: contrast, hue and flips. Source: as `paper_chest`."""
    return ViewSettings(
        size=size,
        horizontal_flip=0.5,
        vertical_flip=0.5,
        contrast=0.4,
        hue=0.1,
        jitter_probability=0.8,
    )


def require_shuffle_shards(shards: int | None, owner: object) -> None:
    """Raise ValueError unless the setting `shuffle_shards` of its owner is none or 1 or more."""
    require(shards is None or shards >= 1, owner, "shuffle_shards", "1 or more, or none")
