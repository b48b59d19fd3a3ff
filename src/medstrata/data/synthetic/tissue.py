"""Made-up stained tissue with a known finding, for the demo: what invariance to stain teaches.

Nothing in these images comes from a patient. Each is a texture of one of six families, fine or
coarse, in the colour of its made-up patient's stain, which may be any. The finding is neither the
family nor the coarseness but which go together, so that every one of the twelve kinds has to be
known. A random network sees little but the stain, and so does one that is trained on few labelled
images; one that was shown two views of each image in different stains sees the kind. Results on
these images say nothing about medicine.

Legend: H W height and width, both `size`.
"""

from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.synthetic.folder import require_numbers, write_images
from medstrata.data.synthetic.noise import Grey, band, gaussian
from medstrata.runtime.randomness import Stream, permutation, uniforms

_FAMILIES = (
    "upright streaks",
    "level streaks",
    "slanted grid",
    "upright grid",
    "bright islands",
    "dark islands",
)
# Directions of fastest variation, in quarter turns from the x axis.
_DIRECTIONS = {
    "upright streaks": (0.0,),
    "level streaks": (1.0,),
    "slanted grid": (0.5, 1.5),
    "upright grid": (0.0, 1.0),
}
_LEAST_ISLAND = 0.3  # of the field's standard deviation
_SCALES = {"fine": 0.8, "coarse": 1.5}  # wavelength in eighths of the side
_FIELD = Stream.SYNTHETIC_FIELD
KINDS = len(_FAMILIES) * len(_SCALES)

_SATURATION, _BRIGHTNESS = 0.4, 0.65
_TEXTURE = 0.24  # standard deviation of the light through the tissue, as a share of its mean
_NOISE = 0.02  # standard deviation in each channel; 1 is full white

_ABOUT = """\
What the finding is: every image has a texture of one of six families, fine or coarse.
  finding 0: {negative}
  finding 1: {positive}
The colour of the stain is the patient's and drawn without regard to the finding.
"""


def finding(kind: int) -> int:
    """The finding of a kind, 0 or 1: which families and which scales go together."""
    return sum(divmod(kind, len(_SCALES))) % 2


def make_images(
    folder: Path, *, images: int = 4000, images_per_patient: int = 4, size: int = 32, seed: int = 0
) -> Path:
    """Write made-up tissue, its labels and a README that says what it is.

    Every kind has about equally many images, and every patient several kinds. Equal arguments give
    equal files.

    Args:
        folder: New folder, or one left by an interrupted call with equal arguments; see
            `folder.write_images`.
        images: Images to write, 1 or more.
        images_per_patient: 1 or more; the last patient has what is left.
        size: Height and width in pixels, 32 or more; all structures grow with it.
        seed: Any integer; other seeds give other patients.

    Returns:
        Path of `labels.csv`, which is written last.

    Raises:
        MedstrataError: A number is out of its range, or the folder has a `labels.csv`.
    """
    require_numbers(images=images, images_per_patient=images_per_patient, size=size)
    names = [f"{scale} {family}" for family in _FAMILIES for scale in _SCALES]
    of = [[name for kind, name in enumerate(names) if finding(kind) == one] for one in (0, 1)]
    return write_images(
        folder,
        permutation(images, Stream.SYNTHETIC_ORDER, seed) % KINDS,
        images_per_patient,
        seed=seed,
        draw=partial(draw_image, size=size, seed=seed),
        finding=finding,
        about=_ABOUT.format(negative=", ".join(of[0]), positive=", ".join(of[1])),
    )


def draw_image(
    kind: int, patient: int, visit: int, *, size: int = 32, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw one image.

    Args:
        kind: Below `KINDS`; family and scale of the texture.
        patient: Names the stain, 0 or more.
        visit: Names the texture within the patient, 0 or more.
        size: Height and width in pixels, 32 or more.
        seed: Any integer.

    Returns:
        RGB, shape (H, W, 3).
    """
    here = (seed, patient, visit)
    hue = float(uniforms(1, Stream.SYNTHETIC_STAIN, seed, patient)[0, 0])
    stain = np.array([[[360.0 * hue, _SATURATION, _BRIGHTNESS]]], np.float32)
    light = 1.0 + _TEXTURE * _texture(kind, size, here)
    image = cv2.cvtColor(stain, cv2.COLOR_HSV2RGB) * light[..., None]
    for channel in range(3):
        image[..., channel] += _NOISE * gaussian(size, Stream.SYNTHETIC_NOISE, *here, channel)
    return np.asarray(np.clip(255.0 * image + 0.5, 0.0, 255.0), dtype=np.uint8)


def _texture(kind: int, size: int, here: tuple[int, int, int]) -> Grey:
    """Texture of a kind, of mean 0 and standard deviation 1, shape (H, W)."""
    family, scale = divmod(kind, len(_SCALES))
    name, wavelength = _FAMILIES[family], list(_SCALES.values())[scale]
    if name in _DIRECTIONS:
        # All of its directions together, each a field of its own.
        turns = enumerate(_DIRECTIONS[name])
        fields = [band(size, wavelength, 0.5 * np.pi * turn, _FIELD, *here, i) for i, turn in turns]
        field = np.sum(fields, axis=0)
    else:
        field = band(size, wavelength, None, _FIELD, *here)
        bright = name == "bright islands"
        field = np.maximum(field, _LEAST_ISLAND) if bright else np.minimum(field, -_LEAST_ISLAND)
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float32)
