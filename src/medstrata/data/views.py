"""Random views of stored images: parameters are drawn first, pixels are moved second.

Shape letters: B batch, V views of each image, C channels, H W height and width. Pixels stay what
they are stored as, uint8 or (grey alone) uint16. OpenCV does the pixel work outside Python's lock,
so the threads of `runtime/threads.py:image_threads` add up.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from medstrata.data.view_settings import ViewSettings
from medstrata.runtime.randomness import Stream, uniforms

_Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_GREY = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601: the share of red, green and blue in a grey
_IDENTITY = np.eye(3)
_CROP_ATTEMPTS = 10  # as torchvision's RandomResizedCrop; then the largest centred crop is taken
_ROWS_PER_CALL = (
    8  # large enough that handing work to a thread costs nothing, small enough to share
)


class Images(Protocol):
    """Stored images by row, shape (H, W, C), H = W: uint8 with C = 1 or 3, or uint16 with C = 1."""

    def __getitem__(self, row: int, /) -> _Pixels:
        """The pixels of one row; they are only read."""


@dataclass(frozen=True, kw_only=True)
class ViewParameters:
    """What happens to each image of a batch; all arrays have one entry per image, shape (B,).

    Args:
        size: Side of the view in pixels.
        left: First column of the crop, in pixels of the stored image; int64.
        top: First row of the crop; int64.
        width: Columns of the crop; int64.
        height: Rows of the crop; int64.
        order: Order of the colour changes (0 brightness, 1 contrast, 2 saturation, 3 hue), int64,
            shape (B, 4).
        brightness: Factor of the pixel values; 1 changes nothing.
        contrast: Factor of the distance to the image's mean grey; 1 changes nothing.
        saturation: Factor of the distance of each pixel to its grey; 1 changes nothing.
        hue: Shift in turns of the colour circle; 0 changes nothing.
        grey: Whether colours are dropped; bool.
        blur_sigma: Standard deviation of the blur in pixels of the view; 0 is no blur.
        angle: Rotation of the content in degrees, counter-clockwise; 0 is none.
        flip_horizontal: Whether left and right are swapped, after the rotation; bool.
        flip_vertical: Whether top and bottom are swapped, after the rotation; bool.
    """

    size: int
    left: NDArray[np.int64]
    top: NDArray[np.int64]
    width: NDArray[np.int64]
    height: NDArray[np.int64]
    order: NDArray[np.int64]
    brightness: NDArray[np.float64]
    contrast: NDArray[np.float64]
    saturation: NDArray[np.float64]
    hue: NDArray[np.float64]
    grey: NDArray[np.bool_]
    blur_sigma: NDArray[np.float64]
    angle: NDArray[np.float64]
    flip_horizontal: NDArray[np.bool_]
    flip_vertical: NDArray[np.bool_]

    @cached_property
    def turns(self) -> NDArray[np.float64]:
        """Maps of each view to its resized crop, rotation and flips undone; shape (B, 2, 3)."""
        radians = np.deg2rad(self.angle)
        across = np.where(self.flip_horizontal, -1.0, 1.0)
        down = np.where(self.flip_vertical, -1.0, 1.0)
        turns = np.empty((len(radians), 2, 3))
        turns[:, 0, 0], turns[:, 0, 1] = np.cos(radians) * across, -np.sin(radians) * down
        turns[:, 1, 0], turns[:, 1, 1] = np.sin(radians) * across, np.cos(radians) * down
        centre = (self.size - 1) / 2
        turns[:, :, 2] = centre - turns[:, :, :2].sum(axis=2) * centre
        return turns


def draw(
    settings: ViewSettings,
    image_size: int,
    seed: int,
    epoch: int,
    rows: NDArray[np.int64],
    view: int,
) -> ViewParameters:
    """Draw the parameters of one view of each row.

    Every setting has its own uniform number, so changing one leaves the draws of the others.

    Args:
        settings: Ranges and probabilities.
        image_size: Side of the stored square images, in pixels.
        seed: Seed of the run.
        epoch: Epoch number.
        rows: Rows of the images, shape (B,); a row's draw does not depend on its batch.
        view: Number of the view, so that the views of one image differ.

    Returns:
        The parameters, one entry per row in the order of `rows`.
    """
    numbers = uniforms(17 + 2 * _CROP_ATTEMPTS, Stream.VIEWS, seed, epoch, rows, view)
    left, top, width, height = _draw_crops(settings, image_size, numbers[:, 11:13], numbers[:, 17:])
    jittered = numbers[:, 0] < settings.jitter_probability
    blurred = numbers[:, 6] < settings.blur_probability
    size = settings.size or image_size
    low_sigma, high_sigma = (size * share for share in settings.blur_sigma)

    def factor(column: int, reach: float) -> NDArray[np.float64]:
        drawn = _between(max(0.0, 1.0 - reach), 1.0 + reach, numbers[:, column])
        return np.where(jittered, drawn, 1.0)

    return ViewParameters(
        size=size,
        left=left,
        top=top,
        width=width,
        height=height,
        order=np.argsort(numbers[:, 13:17], axis=1),
        brightness=factor(1, settings.brightness),
        contrast=factor(2, settings.contrast),
        saturation=factor(3, settings.saturation),
        hue=np.where(jittered, _between(-settings.hue, settings.hue, numbers[:, 4]), 0.0),
        grey=numbers[:, 5] < settings.grey_probability,
        blur_sigma=np.where(blurred, _between(low_sigma, high_sigma, numbers[:, 7]), 0.0),
        angle=_between(-settings.rotation, settings.rotation, numbers[:, 8]),
        flip_horizontal=numbers[:, 9] < settings.horizontal_flip,
        flip_vertical=numbers[:, 10] < settings.vertical_flip,
    )


def _between(low: float, high: float, uniform: NDArray[np.float64]) -> NDArray[np.float64]:
    return low + (high - low) * uniform


def _draw_crops(
    settings: ViewSettings,
    image_size: int,
    place: NDArray[np.float64],
    attempts: NDArray[np.float64],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Boxes distributed as those of torchvision's RandomResizedCrop: left, top, width, height."""
    if settings.crop_scale is None:
        zeros = np.zeros(len(place), dtype=np.int64)
        return zeros, zeros, zeros + image_size, zeros + image_size
    smallest, largest = settings.crop_scale
    area = image_size**2 * _between(smallest, largest, attempts[:, :_CROP_ATTEMPTS])
    low, high = settings.crop_ratio
    ratio = np.exp(_between(np.log(low), np.log(high), attempts[:, _CROP_ATTEMPTS:]))
    widths, heights = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
    fits = (np.minimum(widths, heights) > 0) & (np.maximum(widths, heights) <= image_size)
    chosen = np.arange(len(place)), fits.argmax(axis=1)
    fitted = fits[chosen]  # argmax is the first attempt that fits, or 0 where none does
    width = np.where(fitted, widths[chosen], np.rint(image_size * min(1.0, high)))
    height = np.where(fitted, heights[chosen], np.rint(image_size / max(1.0, low)))
    room = image_size - np.stack([width, height], axis=1)
    corner = np.where(fitted[:, np.newaxis], np.floor(place * (room + 1)), room // 2)
    left, top, width, height = (
        numbers.astype(np.int64) for numbers in (corner[:, 0], corner[:, 1], width, height)
    )
    return left, top, width, height


def affine_maps(parameters: ViewParameters) -> NDArray[np.float32]:
    """Where the pixels of each view lie in the stored image.

    Args:
        parameters: Parameters of one view of B images.

    Returns:
        Shape (B, 2, 3): `maps[i] @ (x, y, 1)` is the place in stored image i, as (column, row) of
        pixel centres, that appears at column x, row y of the view. It may lie outside the image
        where a rotation filled the corners.
    """
    size = parameters.size
    maps = np.zeros((len(parameters.left), 2, 3))
    maps[:, 0, 0] = parameters.width / size
    maps[:, 1, 1] = parameters.height / size
    maps[:, 0, 2] = parameters.left + (parameters.width / size - 1) / 2
    maps[:, 1, 2] = parameters.top + (parameters.height / size - 1) / 2
    turns = parameters.turns
    maps[:, :, 2] += np.einsum("bij,bj->bi", maps[:, :, :2], turns[:, :, 2])
    maps[:, :, :2] = maps[:, :, :2] @ turns[:, :, :2]
    return maps.astype(np.float32)


def apply(image: _Pixels, parameters: ViewParameters, i: int, out: _Pixels) -> None:
    """Make one view.

    Args:
        image: Stored image, shape (H, W, C), C = 1 or 3; only read.
        parameters: Parameters of a batch drawn for images of this size.
        i: Entry of the batch.
        out: Where the view goes: of the image's type, shape (size, size, C), contiguous.
    """
    if out.shape[2] == 1:  # OpenCV knows one channel only as (H, W); these are views, not copies
        image, out = image[:, :, 0], out[:, :, 0]
    turned = bool(
        parameters.angle[i] != 0 or parameters.flip_horizontal[i] or parameters.flip_vertical[i]
    )
    pixels = np.empty_like(out) if turned else out
    left, top = parameters.left[i], parameters.top[i]
    _resize(image[top : top + parameters.height[i], left : left + parameters.width[i]], pixels)
    _change_colours(pixels, parameters, i)
    if parameters.blur_sigma[i] > 0:
        _blur(pixels, float(parameters.blur_sigma[i]))
    if turned:
        _turn(pixels, parameters, i, out)


def _resize(crop: _Pixels, out: _Pixels) -> None:
    """Resize; shrinking goes to a whole multiple of the size and then averages k x k pixels.

    Bilinear sampling alone skips pixels when it shrinks by much; OpenCV's area averaging does not,
    but takes four times as long unless the factor is whole. Up to 1.5 the difference is below one
    grey level.
    """
    size = out.shape[0]
    multiple = max(1, ceil(max(crop.shape[:2]) / size / 1.5))
    if multiple == 1:
        cv2.resize(crop, (size, size), dst=out, interpolation=cv2.INTER_LINEAR)
        return
    side = multiple * size
    larger = cv2.resize(crop, (side, side), interpolation=cv2.INTER_LINEAR)
    cv2.resize(larger, (size, size), dst=out, interpolation=cv2.INTER_AREA)


def _change_colours(pixels: _Pixels, parameters: ViewParameters, i: int) -> None:
    changes: Sequence[tuple[Callable[[_Pixels, float], None], float]] = (
        (_change_brightness, float(parameters.brightness[i])),
        (_change_contrast, float(parameters.contrast[i])),
        (_change_saturation, float(parameters.saturation[i])),
        (_change_hue, float(parameters.hue[i])),
    )
    for number in parameters.order[i]:
        change, amount = changes[number]
        change(pixels, amount)
    if parameters.grey[i] and pixels.ndim == 3:
        cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB, dst=pixels)


def _change_brightness(pixels: _Pixels, factor: float) -> None:
    if factor != 1:
        cv2.addWeighted(pixels, factor, pixels, 0, 0, dst=pixels)


def _change_contrast(pixels: _Pixels, factor: float) -> None:
    if factor == 1:
        return
    means = cv2.mean(pixels)
    grey = round(float(np.dot(_GREY, means[:3]))) if pixels.ndim == 3 else round(means[0])
    cv2.addWeighted(pixels, factor, pixels, 0, (1 - factor) * grey, dst=pixels)


def _change_saturation(pixels: _Pixels, factor: float) -> None:
    if factor != 1 and pixels.ndim == 3:
        cv2.transform(pixels, factor * _IDENTITY + (1 - factor) * _GREY, dst=pixels)


def _change_hue(pixels: _Pixels, turns: float) -> None:
    if turns == 0 or pixels.ndim != 3:
        return
    hsv = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV_FULL)
    # Hue is a full circle of 256, so uint8 wraps as it should. Adding whole rows at once is three
    # times as fast as stepping through every third byte.
    shift = np.zeros(hsv.shape[1] * 3, dtype=np.uint8)
    shift[::3] = round(turns * 256) % 256
    flat = hsv.reshape(hsv.shape[0], -1)
    np.add(flat, shift, out=flat)
    cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL, dst=pixels)


def _blur(pixels: _Pixels, sigma: float) -> None:
    # Three sigma to either side hold 99.7 % of the weight; a fixed 23 taps give the same grey
    # levels for twice the work. sepFilter2D is twice as fast as GaussianBlur on uint8.
    kernel = cv2.getGaussianKernel(2 * ceil(3 * sigma) + 1, sigma, cv2.CV_32F)
    cv2.sepFilter2D(pixels, -1, kernel, kernel, dst=pixels, borderType=cv2.BORDER_REFLECT_101)


def _turn(pixels: _Pixels, parameters: ViewParameters, i: int, out: _Pixels) -> None:
    horizontal, vertical = parameters.flip_horizontal[i], parameters.flip_vertical[i]
    if parameters.angle[i] == 0:
        cv2.flip(pixels, -1 if horizontal and vertical else int(horizontal), dst=out)
        return
    cv2.warpAffine(
        pixels,
        parameters.turns[i],
        out.shape[1::-1],
        dst=out,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )


def make_views(
    images: Images,
    rows: NDArray[np.int64],
    settings: ViewSettings,
    *,
    seed: int,
    epoch: int,
    views: int = 2,
    executor: Executor | None = None,
) -> tuple[_Pixels, NDArray[np.float32]]:
    """Make random views of a batch of images.

    Args:
        images: Stored images by row, all of one shape.
        rows: Rows of the batch, shape (B,), at least one.
        settings: How views are drawn.
        seed: Seed of the run.
        epoch: Epoch number.
        views: Views of each image; 1 or more.
        executor: Threads that share the work; None works in the calling thread. The result is the
            same.

    Returns:
        The views, of the images' type, shape (V, B, size, size, C), and the maps of `affine_maps`,
        float32, shape (V, B, 2, 3).
    """
    first = images[int(rows[0])]
    image_size, _, channels = first.shape
    parameters = [draw(settings, image_size, seed, epoch, rows, view) for view in range(views)]
    size = parameters[0].size
    pixels = np.empty((views, len(rows), size, size, channels), dtype=first.dtype)

    def fill(start: int) -> None:
        for i in range(start, min(start + _ROWS_PER_CALL, len(rows))):
            image = images[int(rows[i])]
            for view in range(views):
                apply(image, parameters[view], i, pixels[view, i])

    starts = range(0, len(rows), _ROWS_PER_CALL)
    for _ in executor.map(fill, starts) if executor else map(fill, starts):
        pass
    return pixels, np.stack([affine_maps(one) for one in parameters])
