"""Made-up grey chests with a known finding, for tests and tutorials.

Nothing in these images comes from a patient. Each has an anatomy-like background that belongs to
its made-up patient (body, lungs, ribs, vessels), a pose, exposure and sensor noise of its own, and
a faint texture over the lungs. The texture is of one of six families, and the family alone decides
the finding: one has to tell the families apart, and a handful of labelled images hardly shows all
of them. Results on these images say nothing about medicine.

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

# The first half has finding 0, the second half finding 1. Shares of power in the upright, level and
# slanted directions: finding 0 has (1, 0, 0), (0, 1, 0), (0, 0, 1); finding 1 has (1/4, 1/4, 1/2)
# twice and (1/2, 1/2, 0). Both sum to (1, 1, 1), so no weighting of directions tells them apart.
FAMILIES = (
    "upright streaks",
    "level streaks",
    "slanted grid",
    "bright islands",
    "bright network",
    "upright grid",
)
_HALF = len(FAMILIES) // 2
_CHANGING_PATIENTS = 0.2  # share of patients whose finding changes half-way

# Least and greatest standard deviation of sensor noise, amplitude of the texture and standard
# deviation of patternless grain of the same wavelength; 1 is full white.
_NOISE = (0.01, 0.04)
_TEXTURE = (0.06, 0.12)
_GRAIN = (0.01, 0.03)
_OUTSIDE_LUNGS = 0.4  # strength of texture and grain there, relative to the lungs


_ABOUT = """\
Most patients keep one finding, some change. What the finding is: every image has a faint texture
over the lungs.
  finding 0: {negative}
  finding 1: {positive}
Background, pose, exposure and noise, and the strength, wavelength and tilt of
the texture are drawn without regard to the finding.
"""


def make_images(
    folder: Path, *, images: int = 1600, images_per_patient: int = 4, size: int = 64, seed: int = 0
) -> Path:
    """Write synthetic images, their labels and a README that says what they are.

    The images are made up and results on them say nothing about medicine. The hidden finding is
    the family of a faint texture over the lungs (`FAMILIES`: the first half is finding 0, the
    second half finding 1). About half of the images have each finding; in about four patients of
    five all images share one, in the others it changes half-way. Equal arguments give equal files.

    Args:
        folder: New folder, or one left by an interrupted call with equal arguments. Receives
            `images/<patient>/<number>.png`, `labels.csv` with the columns file (relative to the
            folder), patient_id and finding, and `README.txt`.
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
    return write_images(
        folder,
        _families(images, images_per_patient, seed),
        images_per_patient,
        seed=seed,
        draw=partial(draw_image, size=size, seed=seed),
        finding=lambda family: family // _HALF,
        about=_ABOUT.format(
            negative=", ".join(FAMILIES[:_HALF]), positive=", ".join(FAMILIES[_HALF:])
        ),
    )


def draw_image(
    family: int, patient: int, visit: int, *, size: int = 64, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw one synthetic image.

    Args:
        family: Texture, an index of `FAMILIES`; those of the second half are finding 1.
        patient: Names the background, 0 or more.
        visit: Names pose, exposure, noise and texture within the patient, 0 or more.
        size: Height and width in pixels, 32 or more.
        seed: Any integer.

    Returns:
        Grey pixels, shape (H, W).
    """
    here = (seed, patient, visit)
    exposure, contrast, *draws = uniforms(5, Stream.SYNTHETIC_EXPOSURE, *here)[0].tolist()
    noise, texture, grain = (
        low + (high - low) * draw
        for (low, high), draw in zip((_NOISE, _TEXTURE, _GRAIN), draws, strict=True)
    )
    anatomy, lungs = _anatomy(size, here)
    pattern = texture * _texture(family, size, here)
    pattern += grain * band(size, 1.0, None, Stream.SYNTHETIC_GRAIN, *here)
    image = anatomy + (_OUTSIDE_LUNGS + (1.0 - _OUTSIDE_LUNGS) * lungs) * pattern
    image = 0.5 + (0.8 + 0.4 * contrast) * (image - 0.5) + 0.2 * (exposure - 0.5)
    image += noise * gaussian(size, Stream.SYNTHETIC_NOISE, *here)
    return np.asarray(np.clip(255.0 * image + 0.5, 0.0, 255.0), dtype=np.uint8)


def _families(images: int, images_per_patient: int, seed: int) -> NDArray[np.int64]:
    """The family of each image, shape (images,): every family begins equally many patients."""
    patients = -(-images // images_per_patient)
    first = permutation(patients, Stream.SYNTHETIC_ORDER, seed) % len(FAMILIES)
    changing = (
        uniforms(1, Stream.SYNTHETIC_CHANGE, seed, np.arange(patients))[:, 0] < _CHANGING_PATIENTS
    )
    patient, visit = np.divmod(np.arange(images), images_per_patient)
    changed = changing[patient] & (2 * visit >= images_per_patient)
    return np.asarray((first[patient] + _HALF * changed) % len(FAMILIES), dtype=np.int64)


def _texture(family: int, size: int, here: tuple[int, int, int]) -> Grey:
    """The texture that decides the finding, shape (H, W), values spread evenly over -1 to 1.

    Ranks take the place of values, so that families share one histogram and differ in form only.
    """
    name = FAMILIES[family]
    stretch, tilt = (uniforms(2, Stream.SYNTHETIC_FORM, *here)[0] - 0.5).tolist()
    wavelength = 1.0 + 0.3 * stretch
    angle = 0.3 * tilt
    if name in {"bright islands", "bright network"}:
        # The sign changes of a field are a net of lines; folding it there shortens the wavelength.
        islands = np.abs(band(size, 1.7 * wavelength, None, Stream.SYNTHETIC_FIELD, *here))
        field = islands if name == "bright islands" else -islands
    else:
        angle += {"level streaks": 0.5 * np.pi, "slanted grid": 0.25 * np.pi}.get(name, 0.0)
        field = band(size, wavelength, angle, Stream.SYNTHETIC_FIELD, *here)
        if name in {"slanted grid", "upright grid"}:
            field = field + band(
                size, wavelength, angle + 0.5 * np.pi, Stream.SYNTHETIC_CROSSING, *here
            )
    ranks = np.argsort(np.argsort(field, axis=None, kind="stable"), kind="stable")
    return (2.0 * ranks.reshape(size, size) / (size * size - 1.0) - 1.0).astype(np.float32)


def _anatomy(size: int, here: tuple[int, int, int]) -> tuple[Grey, Grey]:
    """Background of a patient in the pose of a visit: x to the right, y down, both -1 to 1.

    Returns:
        Grey values within 0 to 1 and the lungs as a soft mask of 0 to 1, each (H, W).
    """
    shape = uniforms(14, Stream.SYNTHETIC_ANATOMY, *here[:2])[0]
    y, x = np.mgrid[-1.0 : 1.0 : size * 1j, -1.0 : 1.0 : size * 1j]

    def ellipse(centre_x: float, centre_y: float, width: float, height: float, edge: float) -> Grey:
        distance = np.hypot((x - centre_x) / width, (y - centre_y) / height)
        return np.asarray(1.0 / (1.0 + np.exp((distance - 1.0) / edge)), dtype=np.float32)

    gap = 0.42 + 0.06 * shape[0]
    width, height, offset = 0.33 + 0.08 * shape[1], 0.68 + 0.15 * shape[2], 0.08 * shape[3]
    lungs = np.maximum(
        ellipse(-gap, offset, width, height, 0.1),
        ellipse(gap, -offset, width, height * (0.9 + 0.1 * shape[4]), 0.1),
    )
    heart = ellipse(0.1 + 0.15 * shape[5], 0.4, 0.25 + 0.15 * shape[6], 0.3, 0.15)
    body = ellipse(0.0, 0.1, 1.0 + 0.2 * shape[7], 1.3, 0.08)
    # Fewer and softer than the streaks of a texture.
    height_of_rib = y + (0.2 + 0.4 * shape[8]) * x**2
    ribs = np.cos(2.0 * np.pi * ((1.6 + 0.9 * shape[9]) * height_of_rib + shape[10]))
    image = 0.12 + (0.5 + 0.12 * shape[11]) * body - (0.3 + 0.1 * shape[12]) * lungs + 0.2 * heart
    image += (0.03 + 0.03 * shape[13]) * np.maximum(ribs, 0.0) ** 2 * body
    image += 0.1 * _vessels(size, gap, here) * lungs
    turn, right, down, zoom = (uniforms(4, Stream.SYNTHETIC_POSE, *here)[0] - 0.5).tolist()
    middle = 0.5 * (size - 1)
    pose = cv2.getRotationMatrix2D((middle, middle), 12.0 * turn, 1.0 + 0.15 * zoom)
    pose[:, 2] += (0.08 * size * right, 0.08 * size * down)
    planes = np.dstack([image, lungs]).astype(np.float32)
    posed: Grey = np.asarray(
        cv2.warpAffine(planes, pose, (size, size), borderMode=cv2.BORDER_REPLICATE), np.float32
    )
    return posed[..., 0], posed[..., 1]


def _vessels(size: int, gap: float, here: tuple[int, int, int]) -> Grey:
    """Soft lines from the middle of the chest into both lungs, 0 to 1, shape (H, W)."""
    canvas = np.zeros((size, size), dtype=np.float32)
    way = np.linspace(0.0, 1.0, 12)
    for bend, reach, rise in (
        uniforms(30, Stream.SYNTHETIC_VESSELS, *here[:2]).reshape(10, 3) * 2 - 1
    ):
        x = np.sign(reach) * (0.15 + gap * (0.6 + 0.6 * abs(reach)) * way)
        y = 0.8 * rise * way + 0.3 * bend * way * (1.0 - way)
        points = (0.5 * (size - 1) * (np.stack([x, y], axis=1) + 1.0)).round().astype(np.int32)
        cv2.polylines(canvas, [points], isClosed=False, color=1.0, thickness=max(1, size // 64))
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), size / 80.0), dtype=np.float32)
