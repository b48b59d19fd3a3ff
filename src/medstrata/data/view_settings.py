"""How views are drawn: the settings and the named presets. Imports nothing heavy."""

from dataclasses import dataclass, replace

from medstrata.runtime.errors import require, require_choices


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
        blur_sigma: Lowest and highest standard deviation of the blur in pixels of the view, each
            above 0.

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
    blur_sigma: tuple[float, float] = (0.1, 2.0)

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
_HIGHEST_OF_PAIRS = {"crop_scale": 1.0, "crop_ratio": float("inf"), "blur_sigma": float("inf")}


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
    """The views of MoCo v2.

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


def paper_chest(size: int) -> ViewSettings:
    """Pre-training views of chest X-rays: colour, blur and turns of the whole image.

    Source: Kaku et al. 2021, arXiv:2110.14805, and the code published with it.
    """
    return replace(moco_v2(size), crop_scale=None, horizontal_flip=0.0, rotation=30.0)


def paper_chest_finetune(size: int) -> ViewSettings:
    """Fine-tuning views of chest X-rays: those of pre-training. Source: as `paper_chest`."""
    return paper_chest(size)


def paper_histopathology(size: int) -> ViewSettings:
    """Pre-training views of histopathology: crops of .4 to 1. Source: as `paper_chest`."""
    return replace(moco_v2(size), crop_scale=(0.4, 1.0))


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
