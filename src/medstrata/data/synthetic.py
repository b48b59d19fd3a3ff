"""Made-up grey images with a known finding, for the demo and for tests.

Nothing in these images comes from a patient. Each has an anatomy-like background that belongs to
its made-up patient (body, lungs, ribs, vessels), an exposure and sensor noise of its own, and a
faint texture over the lungs. The texture belongs to one of six families, and the family alone
decides the finding. Families come in pairs, one of each label, that share wavelength, contrast and
histogram and differ only in form, so brightness and spread say nothing about the finding. Several
families share a label, so a handful of labelled images cannot show what a finding looks like,
while the families themselves can be found without labels. Results on these images say nothing
about medicine.

Legend: H W height and width, both `size`.
"""

import csv
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.errors import MedstrataError
from medstrata.randomness import permutation, uniforms

Grey = NDArray[np.float32]

# Families 0 to 2 have finding 0; adding 3 gives the twin of equal statistics with finding 1.
FAMILIES = (
    "upright streaks",
    "level streaks",
    "slanted grid",
    "bright islands",
    "bright network",
    "upright grid",
)
_TWIN = len(FAMILIES) // 2
_CHANGING_PATIENTS = 0.2  # share of patients whose finding appears or resolves half-way

# What a draw is for: the last coordinate of its random numbers.
_ORDER, _CHANGE, _ANATOMY, _POSE, _TEXTURE, _FIELD, _GRAIN, _SENSOR = range(8)

_README = """Synthetic images
================
These {images} grey images of {patients} patients were made by a program (medstrata demo, seed {seed}).
No patient, scanner or physician had a part in them, and results on them say nothing about
medicine: they show only that the program runs.

labels.csv   file        path of the image, relative to this folder
             patient_id  made-up patient; most have one finding in all their images, some change
             finding     0 or 1

What finding means: every image has a faint texture over the lungs.
  finding 0: {negative}
  finding 1: {positive}
Background, exposure, noise, and the contrast, wavelength and place of the texture are drawn without
regard to the finding.
"""


def make_images(
    folder: Path, *, images: int = 1600, images_per_patient: int = 4, size: int = 64, seed: int = 0
) -> Path:
    """Write synthetic images, their labels and a README that says what they are.

    The images are made up and results on them say nothing about medicine. The hidden finding is
    the family of a faint texture over the lungs (`FAMILIES`: the first half finding 0, the second
    half finding 1); half of the patients have each. In four patients of five all images share a
    finding, in the others it changes half-way. Equal arguments give equal files.

    Args:
        folder: New or empty folder. Receives `images/<patient>/<number>.png`, `labels.csv` with
            the columns file (relative to the folder), patient_id and finding, and `README.txt`.
        images: Images to write, 1 or more.
        images_per_patient: 1 or more; the last patient has what is left.
        size: Height and width in pixels, 32 or more; wavelengths grow with it.
        seed: Any integer; other seeds give other patients.

    Returns:
        Path of `labels.csv`, which is written last.

    Raises:
        MedstrataError: A number is out of its range, or the folder is not empty.
    """
    for name, value, least in (
        ("images", images, 1),
        ("images_per_patient", images_per_patient, 1),
        ("size", size, 32),
    ):
        if value < least:
            raise MedstrataError(f"synthetic images: {name} is {value}; give {least} or more")
    if folder.exists() and any(folder.iterdir()):
        raise MedstrataError(f"{folder} is not empty: remove it or name another folder")
    families = _families(images, images_per_patient, seed)
    rows = []
    for number, family in enumerate(families.tolist()):
        patient, visit = divmod(number, images_per_patient)
        file = Path("images", f"patient{patient:04d}", f"{visit:02d}.png")
        (folder / file.parent).mkdir(parents=True, exist_ok=True)
        pixels = draw_image(family, patient, visit, size=size, seed=seed)
        (folder / file).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        rows.append((file.as_posix(), f"patient{patient:04d}", family // _TWIN))
    readme = _README.format(
        images=images,
        patients=rows[-1][1],
        seed=seed,
        negative=", ".join(FAMILIES[:_TWIN]),
        positive=", ".join(FAMILIES[_TWIN:]),
    )
    (folder / "README.txt").write_text(readme, encoding="utf-8")
    labels = folder / "labels.csv"
    with labels.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("file", "patient_id", "finding"))
        writer.writerows(rows)
    return labels


def draw_image(
    family: int, patient: int, visit: int, *, size: int = 64, seed: int = 0
) -> NDArray[np.uint8]:
    """Draw one synthetic image.

    Args:
        family: Texture, an index of `FAMILIES`; the second half are finding 1.
        patient: Names the background, 0 or more.
        visit: Names the pose, exposure, noise and texture within the patient, 0 or more.
        size: Height and width in pixels.
        seed: Any integer.

    Returns:
        Grey pixels, shape (H, W).
    """
    here = (seed, patient, visit)
    exposure, contrast, strength, grain, noise = uniforms(5, *here, _TEXTURE)[0]
    anatomy, lungs = _anatomy(size, seed, patient, visit)
    # Families must not differ in histogram, so the texture is added with a spread drawn without
    # regard to them, and the grain of equal wavelength varies around it.
    texture = _texture(family, size, here) * (TEX[0] + TEX[1] * strength)
    texture += _band(size, 1.0, None, here, _GRAIN) * (GRAIN[0] + GRAIN[1] * grain)
    image = anatomy + (FLOOR + (1 - FLOOR) * lungs) * texture
    image = 0.5 + (0.8 + 0.4 * contrast) * (image - 0.5) + 0.2 * (exposure - 0.5)
    image += (NOISE[0] + NOISE[1] * noise) * _gaussian(size, *here, _SENSOR)
    return np.asarray(np.clip(image * 255.0 + 0.5, 0.0, 255.0), dtype=np.uint8)


TEX = (0.05, 0.06)
GRAIN = (0.01, 0.03)
NOISE = (0.01, 0.03)
FLOOR = 0.4


def _families(images: int, images_per_patient: int, seed: int) -> NDArray[np.int64]:
    """The family of each image, shape (images,): balanced over patients."""
    patients = -(-images // images_per_patient)
    first = permutation(patients, seed, _ORDER) % len(FAMILIES)
    changes = uniforms(1, seed, np.arange(patients), _CHANGE)[:, 0] < _CHANGING_PATIENTS
    patient, visit = np.divmod(np.arange(images), images_per_patient)
    changed = changes[patient] & (2 * visit >= images_per_patient)
    return np.asarray((first[patient] + _TWIN * changed) % len(FAMILIES), dtype=np.int64)


def _gaussian(size: int, *coordinates: int) -> Grey:
    """White noise of mean 0 and standard deviation 1, shape (H, W), by Box and Muller."""
    radius, angle = uniforms(2 * size * size, *coordinates).reshape(2, size, size)
    noise = np.sqrt(-2.0 * np.log1p(-radius)) * np.cos(2.0 * np.pi * angle)
    return noise.astype(np.float32)


def _band(
    size: int, wavelength: float, angle: float | None, here: tuple[int, ...], *purpose: int
) -> Grey:
    """Noise around one wavelength, of standard deviation 1, shape (H, W).

    Args:
        size: Height and width in pixels.
        wavelength: In eighths of the image side.
        angle: Direction in which it varies fastest, radians from the x axis; None for all.
        here: Seed, patient and visit.
        purpose: What the draw is for.
    """
    frequency = np.fft.fftfreq(size)
    x, y = frequency[None, :], frequency[:, None]
    radius = np.hypot(x, y)
    radius[0, 0] = 1.0
    gain = np.exp(-0.5 * (np.log(radius * wavelength * size / 8.0) / 0.2) ** 2)
    gain[0, 0] = 0.0
    if angle is not None:
        # Twice the angle makes opposite directions equal.
        turn = 0.5 * np.arccos(np.clip(np.cos(2.0 * (np.arctan2(y, x) - angle)), -1.0, 1.0))
        gain *= np.exp(-0.5 * (turn / 0.25) ** 2)
    field = np.fft.ifft2(np.fft.fft2(_gaussian(size, *here, *purpose)) * gain).real
    return (field / field.std()).astype(np.float32)


def _texture(family: int, size: int, here: tuple[int, ...]) -> Grey:
    """The texture that decides the finding, shape (H, W), values spread evenly over -1 to 1.

    Ranks replace values, so every family has the same histogram and only the form differs.
    """
    stretch, tilt = uniforms(2, *here, _TEXTURE, 1)[0]
    wavelength = 0.85 + 0.3 * stretch
    tilt = 0.3 * (tilt - 0.5)
    name = FAMILIES[family]
    if name in {"bright islands", "bright network"}:
        # The sign changes of a field are a net of lines; folding halves its wavelength.
        field = np.abs(_band(size, 1.7 * wavelength, None, here, _FIELD))
        field = field if name == "bright islands" else -field
    elif name in {"upright streaks", "level streaks"}:
        turn = 0.0 if name == "upright streaks" else 0.5 * np.pi
        field = _band(size, wavelength, turn + tilt, here, _FIELD)
    else:
        turn = 0.0 if name == "upright grid" else 0.25 * np.pi
        field = _band(size, wavelength, turn + tilt, here, _FIELD)
        field = field + _band(size, wavelength, turn + tilt + 0.5 * np.pi, here, _FIELD, 1)
    ranks = np.argsort(np.argsort(field, axis=None, kind="stable"), kind="stable")
    return (2.0 * ranks.reshape(size, size) / (size * size - 1.0) - 1.0).astype(np.float32)


def _anatomy(size: int, seed: int, patient: int, visit: int) -> tuple[Grey, Grey]:
    """Background of a patient in the pose of a visit.

    Returns:
        Grey values around 0 to 1 and the lungs as a soft mask of 0 to 1, each (H, W).
    """
    shape = uniforms(14, seed, patient, _ANATOMY)[0]
    turn, shift_x, shift_y, zoom = uniforms(4, seed, patient, visit, _POSE)[0] - 0.5
    y, x = np.mgrid[-1.0 : 1.0 : size * 1j, -1.0 : 1.0 : size * 1j]
    x, y = (1.0 + 0.15 * zoom) * x + 0.2 * turn * y, (1.0 + 0.15 * zoom) * y - 0.2 * turn * x
    x, y = x + 0.15 * shift_x, y + 0.15 * shift_y

    def ellipse(centre: tuple[float, float], radii: tuple[float, float], edge: float) -> Grey:
        distance = np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1])
        return (1.0 / (1.0 + np.exp((distance - 1.0) / edge))).astype(np.float32)

    width, height = 0.33 + 0.08 * shape[0], 0.68 + 0.15 * shape[1]
    gap = 0.42 + 0.06 * shape[2]
    lungs = np.maximum(
        ellipse((-gap, 0.08 * shape[3]), (width, height), 0.1),
        ellipse((gap, -0.08 * shape[3]), (width, height * (0.9 + 0.1 * shape[4])), 0.1),
    )
    heart = ellipse((0.1 + 0.15 * shape[5], 0.4), (0.25 + 0.15 * shape[6], 0.3), 0.15)
    body = ellipse((0.0, 0.1), (1.0 + 0.2 * shape[7], 1.3), 0.08)
    ribs = np.cos(
        2.0 * np.pi * ((1.6 + 0.9 * shape[8]) * (y + (0.2 + 0.4 * shape[9]) * x**2) + shape[10])
    )
    image = 0.12 + (0.5 + 0.12 * shape[11]) * body - (0.3 + 0.1 * shape[12]) * lungs + 0.2 * heart
    image += (0.03 + 0.03 * shape[13]) * np.maximum(ribs, 0.0) ** 2 * body
    image += 0.1 * _vessels(size, gap, seed, patient) * lungs
    return image.astype(np.float32), lungs


def _vessels(size: int, gap: float, seed: int, patient: int) -> Grey:
    """Soft lines from the middle of the chest into both lungs, 0 to 1, shape (H, W)."""
    canvas = np.zeros((size, size), dtype=np.float32)
    for bend, end_x, end_y in uniforms(3, seed, patient, _ANATOMY, np.arange(10)) * 2.0 - 1.0:
        side = np.sign(end_x)
        way = np.linspace(0.0, 1.0, 12)
        x = side * (0.15 + (gap * (0.6 + 0.6 * abs(end_x))) * way)
        y = 0.8 * end_y * way + 0.3 * bend * way * (1.0 - way)
        points = ((np.stack([x, y], axis=1) + 1.0) * 0.5 * (size - 1)).round().astype(np.int32)
        cv2.polylines(canvas, [points], isClosed=False, color=1.0, thickness=1)
    return np.asarray(cv2.GaussianBlur(canvas, (0, 0), size / 80.0), dtype=np.float32)
