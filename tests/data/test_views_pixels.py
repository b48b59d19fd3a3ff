"""The pixels of views, against torchvision and plain versions."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from medstrata.data import view_settings
from medstrata.data.view_settings import ViewSettings
from medstrata.data.views import ViewParameters, draw
from support.view_helpers import Pixels, changed, parameters_of, textured, view_of


def as_tensor(image: Pixels) -> torch.Tensor:
    return torch.from_numpy(image.copy()).permute(2, 0, 1)


def as_pixels(tensor: torch.Tensor) -> Pixels:
    return tensor.permute(1, 2, 0).numpy()


def exactly(function: Callable[..., torch.Tensor], image: Pixels, *arguments: object) -> Pixels:
    """A function of torchvision in floating point: on uint8 it rounds down."""
    result = function(as_tensor(image) / 255, *arguments)
    return as_pixels((result * 255).round().to(torch.uint8))


def assert_near(ours: Pixels, theirs: Pixels, mean: float, most: float) -> None:
    """Mean and 99.9th percentile of the distance in grey levels are within the tolerances."""
    distance = np.abs(ours.astype(int) - theirs.astype(int))
    assert distance.mean() <= mean, f"mean distance {distance.mean():.3f}"
    assert np.quantile(distance, 0.999) <= most, (
        f"99.9 % of distances {np.quantile(distance, 0.999)}"
    )


def torchvision_boxes(settings: ViewSettings, image_size: int, count: int) -> NDArray[np.int64]:
    assert settings.crop_scale
    crop = v2.RandomResizedCrop(settings.size, settings.crop_scale, settings.crop_ratio)
    image = torch.zeros(1, image_size, image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        boxes = [crop.make_params([image]) for _ in range(count)]
    return np.array([[box["left"], box["top"], box["width"], box["height"]] for box in boxes])


def our_boxes(settings: ViewSettings, image_size: int, count: int) -> NDArray[np.int64]:
    drawn = draw(settings, image_size, 3, 0, np.arange(count), 0)
    return np.stack([drawn.left, drawn.top, drawn.width, drawn.height], axis=1)


@pytest.mark.parametrize("scale", [(0.2, 1.0), (0.4, 1.0), (0.02, 0.1), (0.9, 1.0)])
def test_crops_are_distributed_as_torchvisions(scale: tuple[float, float]):
    settings = ViewSettings(size=64, crop_scale=scale)
    count, quantiles = 6000, [0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98]
    figures = []
    for left, top, width, height in (
        our_boxes(settings, 256, count).T,
        torchvision_boxes(settings, 256, count).T,
    ):
        assert min(left.min(), top.min()) >= 0
        assert max((left + width).max(), (top + height).max()) <= 256
        places = left / np.maximum(1, 256 - width), top / np.maximum(1, 256 - height)
        figures.append(
            [
                np.quantile(x, quantiles)
                for x in (width * height / 256**2, np.log(width / height), *places)
            ]
        )
    ours, theirs = np.array(figures)
    # Four standard errors of a difference of two medians, in each figure's own range.
    spread = np.ptp(theirs, axis=1, keepdims=True)
    assert (np.abs(ours - theirs) <= 0.045 * spread).all()


@pytest.mark.parametrize("ratio", [(1.5, 2.0), (0.3, 0.6)])
def test_crops_that_never_fit_fall_back_to_torchvisions_centred_box(ratio: tuple[float, float]):
    settings = ViewSettings(size=64, crop_scale=(1.0, 1.0), crop_ratio=ratio)
    ours = our_boxes(settings, 101, 5)
    np.testing.assert_array_equal(ours, torchvision_boxes(settings, 101, 5))
    assert (ours[:, 2:].max(axis=1) == 101).all()


@pytest.mark.parametrize("angle", [-27.0, 4.0, 30.0, 135.0])
def test_rotation_equals_torchvision(angle: float):
    image = textured(64, 3)
    theirs = functional.rotate(
        as_tensor(image), angle, functional.InterpolationMode.BILINEAR, fill=[0]
    )
    ours = changed(image, angle=angle)
    # The rim is left out: ours fades into the fill over one pixel.
    white = np.full_like(image, 255)
    theirs_mask = as_pixels(functional.rotate(as_tensor(white), angle))
    inside = (changed(white, angle=angle) == 255) & (theirs_mask == 255)
    assert_near(ours[inside], as_pixels(theirs)[inside], mean=0.5, most=3)
    outside = cv2.erode((theirs_mask == 0).astype(np.uint8), np.ones((3, 3)), borderValue=1) == 1
    assert (ours[outside] == 0).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_flips_equal_torchvision(channels: int):
    image = textured(20, channels)
    np.testing.assert_array_equal(
        changed(image, flip_horizontal=True), as_pixels(functional.hflip(as_tensor(image)))
    )
    np.testing.assert_array_equal(
        changed(image, flip_vertical=True), as_pixels(functional.vflip(as_tensor(image)))
    )


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4, 2.5])
def test_brightness_and_contrast_equal_torchvision(factor: float, channels: int):
    image = textured(64, channels)
    brighter = exactly(functional.adjust_brightness, image, factor)
    assert_near(changed(image, brightness=factor), brighter, mean=0.1, most=1)
    contrasted = exactly(functional.adjust_contrast, image, factor)
    # Ours, as PIL's, rounds the mean grey: up to half a level, times the distance of the factor.
    reach = 0.5 * abs(1 - factor)
    assert_near(changed(image, contrast=factor), contrasted, mean=0.1 + reach, most=1 + reach)


@pytest.mark.parametrize("factor", [0.0, 0.6, 1.0, 1.4, 2.5])
def test_saturation_equals_torchvision(factor: float):
    image = textured(64, 3)
    theirs = exactly(functional.adjust_saturation, image, factor)
    assert_near(changed(image, saturation=factor), theirs, mean=0.1, most=1)


@pytest.mark.parametrize("turns", [-0.5, -0.1, -0.03, 0.05, 0.1, 0.4])
def test_hue_equals_torchvision(turns: float):
    image = textured(64, 3)
    ours = changed(image, hue=turns)
    assert_near(ours, exactly(functional.adjust_hue, image, turns), mean=0.4, most=3)
    # PIL works in 8 bits, as ours does.
    pil = np.asarray(functional.adjust_hue(Image.fromarray(image), turns))
    assert_near(ours, pil, mean=0.8, most=6)


def test_greyscale_equals_torchvision():
    image = textured(64, 3)
    theirs = exactly(functional.rgb_to_grayscale, image, 3)
    assert_near(changed(image, grey=True), theirs, mean=0.1, most=1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [0.1, 0.3, 0.5, 1.0, 2.0, 3.0])
def test_blur_equals_torchvision(sigma: float, channels: int):
    image = textured(64, channels)
    theirs = exactly(functional.gaussian_blur, image, [23, 23], [sigma, sigma])
    ours = changed(image, blur_sigma=sigma)
    assert_near(ours, theirs, mean=0.15, most=1)
    assert abs(ours.mean() - theirs.mean()) < 0.05


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [224, 128, 112, 100, 75, 56, 32, 20])
def test_resizing_equals_pil(size: int, channels: int):
    image = textured(128, channels)
    pil = Image.fromarray(image if channels == 3 else image[:, :, 0])
    theirs = np.asarray(pil.resize((size, size), Image.Resampling.BILINEAR)).reshape(
        size, size, channels
    )
    ours = view_of(image, parameters_of(view_settings.evaluation(size), 128))
    assert_near(ours, theirs, mean=1.2, most=8)
    assert abs(ours.mean() - theirs.mean()) < 0.3


def torchvision_view(image: Pixels, parameters: ViewParameters, i: int) -> Pixels:
    """The same parameters through torchvision's functions, in the order of its pipelines.

    In floating point, since its uint8 functions round down after every step.
    """
    values = {name: array[i] for name, array in vars(parameters).items() if name != "size"}
    box = [int(values[name]) for name in ("top", "left", "height", "width")]
    tensor = as_tensor(image) / 255
    tensor = functional.resized_crop(tensor, *box, [parameters.size] * 2, antialias=True)
    changes = (
        lambda x: functional.adjust_brightness(x, values["brightness"]),
        lambda x: functional.adjust_contrast(x, values["contrast"]),
        lambda x: functional.adjust_saturation(x, values["saturation"]),
        lambda x: functional.adjust_hue(x, values["hue"]),
    )
    for number in values["order"]:
        tensor = changes[number](tensor)
    if values["grey"]:
        tensor = functional.rgb_to_grayscale(tensor, num_output_channels=3)
    if values["blur_sigma"] > 0:
        tensor = functional.gaussian_blur(tensor, [23, 23], [values["blur_sigma"]] * 2)
    tensor = functional.rotate(
        tensor, values["angle"], functional.InterpolationMode.BILINEAR, fill=[0]
    )
    tensor = functional.hflip(tensor) if values["flip_horizontal"] else tensor
    tensor = functional.vflip(tensor) if values["flip_vertical"] else tensor
    return as_pixels((tensor * 255).round().to(torch.uint8))


@pytest.mark.parametrize(
    "settings",
    [
        view_settings.moco_v2(64),
        view_settings.paper_chest(64),
        view_settings.paper_histopathology_finetune(64),
        view_settings.paper_retina_finetune(64),
        view_settings.mild(64),
    ],
)
def test_whole_pipeline_equals_torchvision_on_the_same_parameters(settings: ViewSettings):
    image = textured(96, 3)
    parameters = draw(settings, 96, 9, 0, np.arange(40), 0)
    distances = []
    for i in range(40):
        ours, theirs = view_of(image, parameters, i), torchvision_view(image, parameters, i)
        distances.append(np.abs(ours.astype(int) - theirs.astype(int)).mean())
    assert np.mean(distances) < 1.0
    assert max(distances) < 1.6


def figures_of(view: Pixels) -> list[float]:
    """Mean, standard deviation and gradient energy of a view."""
    pixels = view.astype(float)
    energy = sum((np.diff(pixels, axis=axis) ** 2).mean() for axis in (0, 1))
    return [pixels.mean(), pixels.std(), energy]


def test_views_are_distributed_as_torchvisions():
    pipeline = v2.Compose(
        [
            v2.RandomResizedCrop(64, (0.2, 1.0), antialias=True),
            v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], p=0.5),
            v2.RandomHorizontalFlip(0.5),
        ]
    )
    images = [textured(80, 3, seed) for seed in range(24)]
    ours, theirs = [], []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for row, image in enumerate(images):
            settings = replace(view_settings.moco_v2(64), blur_sigma=(0.1 / 64, 2 / 64))
            parameters = draw(settings, 80, 0, row, np.arange(25), 0)
            ours += [figures_of(view_of(image, parameters, i)) for i in range(25)]
            theirs += [figures_of(as_pixels(pipeline(as_tensor(image)))) for _ in range(25)]
    ours, theirs = np.sort(ours, axis=0), np.sort(theirs, axis=0)
    for figure in range(3):  # Kolmogorov-Smirnov between 600 views each, 1 % level
        values = np.concatenate([ours[:, figure], theirs[:, figure]])
        ranks = [
            np.searchsorted(one[:, figure], values, side="right") / 600 for one in (ours, theirs)
        ]
        assert np.abs(ranks[0] - ranks[1]).max() < 1.63 * np.sqrt(2 / 600)
    # Energies have a long tail: means may differ by four standard errors of their difference.
    error = np.sqrt((ours.var(axis=0) + theirs.var(axis=0)) / 600)
    assert (np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error).all()
