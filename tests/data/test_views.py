"""What is drawn for a view, and how often."""

import math
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from medstrata.data import view_settings
from medstrata.data.view_settings import ViewSettings
from medstrata.data.views import affine_maps, draw, make_views
from support.view_helpers import Pixels, changed, parameters_of, textured, view_of

PRESETS = {
    name: getattr(view_settings, name)
    for name in (
        "evaluation",
        "mild",
        "moco_v2",
        "paper_chest",
        "paper_chest_finetune",
        "paper_histopathology",
        "paper_histopathology_finetune",
        "paper_retina",
        "paper_retina_finetune",
    )
}


FIRED = {
    "horizontal_flip": lambda p: p.flip_horizontal,
    "vertical_flip": lambda p: p.flip_vertical,
    "jitter_probability": lambda p: p.contrast != 1,
    "grey_probability": lambda p: p.grey,
    "blur_probability": lambda p: p.blur_sigma > 0,
}


def chance(name: str, probability: float) -> ViewSettings:
    settings = ViewSettings(
        size=24, brightness=0.5, contrast=0.5, jitter_probability=0.0, blur_sigma=(0.04, 0.08)
    )
    return replace(settings, **{name: probability})


@pytest.mark.parametrize("name", FIRED)
def test_probability_is_the_rate(name: str):
    rows = np.arange(4000)
    for probability in (0.0, 0.3, 1.0):
        fired = FIRED[name](draw(chance(name, probability), 24, 5, 0, rows, 0)).mean()
        assert abs(fired - probability) <= 4 * math.sqrt(probability * (1 - probability) / 4000)


@pytest.mark.parametrize("name", FIRED)
def test_never_leaves_the_pixels_and_always_changes_every_view(name: str):
    images = np.stack([textured(24, 3, seed) for seed in range(12)])
    never, _ = make_views(images, np.arange(12), chance(name, 0.0), seed=0, epoch=0)
    always, _ = make_views(images, np.arange(12), chance(name, 1.0), seed=0, epoch=0)
    assert all((view == images).all() for view in never)
    assert (always != images).any(axis=(2, 3, 4)).all()


def test_blur_makes_smoother_and_grey_makes_equal_channels():
    image = textured(64, 3)
    steps = [
        np.abs(np.diff(changed(image, blur_sigma=s).astype(int), axis=0)).mean()
        for s in (0.0, 0.5, 1.0, 2.0)
    ]
    assert steps == sorted(steps, reverse=True)
    grey = changed(image, grey=True)
    assert (grey == grey[:, :, :1]).all()
    assert np.ptp(image, axis=2).max() > 20


@pytest.mark.parametrize(
    ("name", "setting", "low", "high"),
    [
        ("brightness", 0.4, 0.6, 1.4),
        ("contrast", 0.4, 0.6, 1.4),
        ("saturation", 0.4, 0.6, 1.4),
        ("brightness", 1.5, 0.0, 2.5),
        ("hue", 0.1, -0.1, 0.1),
        ("angle", 30.0, -30.0, 30.0),
        ("blur_sigma", (0.01, 0.1), 0.24, 2.4),
    ],
)
def test_amounts_fill_their_range_evenly(name: str, setting: object, low: float, high: float):
    settings = ViewSettings(
        size=24, blur_probability=1.0, **{"rotation" if name == "angle" else name: setting}
    )
    amounts = (getattr(draw(settings, 24, 1, 0, np.arange(4000), 0), name) - low) / (high - low)
    assert 0 <= amounts.min() < 0.005
    assert 0.995 < amounts.max() <= 1
    np.testing.assert_allclose(
        np.quantile(amounts, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.03
    )


def test_all_orders_of_the_colour_changes_are_equally_likely():
    order = draw(view_settings.moco_v2(24), 24, 2, 0, np.arange(6000), 0).order
    _, counts = np.unique(order @ [1000, 100, 10, 1], return_counts=True)
    assert len(counts) == 24
    assert np.abs(counts - 250).max() < 4 * math.sqrt(250)


def test_everything_drawn_is_independent():
    settings = replace(
        view_settings.moco_v2(24), jitter_probability=0.5, vertical_flip=0.5, rotation=30.0
    )
    drawn = [draw(settings, 999, 3, 0, np.arange(10_000), view) for view in (0, 1)]
    columns, centre = [], 24 * np.mean(settings.blur_sigma)
    for p in drawn:
        columns += [p.brightness, p.contrast, p.saturation, p.hue, p.contrast != 1, p.grey]
        columns += [p.blur_sigma > 0, np.where(p.blur_sigma > 0, p.blur_sigma - centre, 0), p.angle]
        columns += [p.flip_horizontal, p.flip_vertical, np.log(p.width / p.height)]
        columns += [p.left / np.maximum(1, 999 - p.width), p.top / np.maximum(1, 999 - p.height)]
        columns += [p.width * p.height, p.order.argmin(axis=1), p.order.argmax(axis=1)]
    correlation = np.corrcoef(np.array(columns, dtype=float))
    count = len(columns) // 2
    for place in (count - 2, 2 * count - 2):  # the first cannot stand where the last stands
        assert correlation[place, place + 1] == pytest.approx(-1 / 3, abs=0.05)
        correlation[place, place + 1] = correlation[place + 1, place] = 0
    assert np.abs(correlation - np.eye(2 * count)).max() < 0.04  # four standard errors


def test_changing_one_setting_leaves_the_other_draws():
    settings = view_settings.moco_v2(24)
    one = draw(settings, 32, 1, 0, np.arange(50), 0)
    other = draw(
        replace(settings, brightness=0.1, blur_probability=0.0, crop_scale=None),
        32,
        1,
        0,
        np.arange(50),
        0,
    )
    for name in ("contrast", "saturation", "hue", "grey", "flip_horizontal", "order"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.brightness != other.brightness).any()


def spot(size: int, x: int, y: int, channels: int) -> Pixels:
    """A black image with one soft spot."""
    image = np.zeros((size, size, channels), dtype=np.uint8)
    image[y - 3 : y + 4, x - 3 : x + 4] = 120
    image[y - 1 : y + 2, x - 1 : x + 2] = 240
    return image


def centre_of(view: Pixels) -> NDArray[np.float64]:
    """Centre of mass as (x, y)."""
    weights = view.sum(axis=2).astype(float)
    rows, columns = np.indices(weights.shape)
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [48, 64, 100])
def test_maps_say_where_the_pixels_come_from(channels: int, size: int):
    settings = ViewSettings(
        size=size, crop_scale=(0.5, 1.0), horizontal_flip=0.5, vertical_flip=0.5, rotation=180.0
    )
    parameters = draw(settings, 80, 4, 0, np.arange(60), 0)
    maps = affine_maps(parameters)
    assert maps.shape == (60, 2, 3)
    assert maps.dtype == np.float32
    generator = np.random.default_rng(0)
    for i in range(60):
        x, y = np.rint(maps[i] @ [*generator.uniform(0.3 * size, 0.7 * size, 2), 1]).astype(int)
        found = centre_of(view_of(spot(80, x, y, channels), parameters, i))
        np.testing.assert_allclose(maps[i] @ [*found, 1], [x, y], atol=0.25)


def test_signs_worked_by_hand():
    image = spot(33, 26, 16, 1)  # right of the centre, which is at (16, 16)
    for changes, place in [
        ({"angle": 90.0}, (16, 6)),  # counter-clockwise: right goes to the top
        ({"angle": -90.0}, (16, 26)),
        ({"flip_horizontal": True}, (6, 16)),
        ({"flip_vertical": True}, (26, 16)),
        ({"angle": 90.0, "flip_vertical": True}, (16, 26)),  # first turned, then flipped
        ({"angle": 90.0, "flip_horizontal": True}, (16, 6)),
        ({"flip_horizontal": True, "flip_vertical": True}, (6, 16)),
    ]:
        np.testing.assert_allclose(centre_of(changed(image, **changes)), place, atol=0.05)


def test_map_of_a_half_size_view_worked_by_hand():
    # Pixel 0 of the view covers pixels 0 and 1 of the image, whose common centre is at 0.5.
    expected = [[2, 0, 0.5], [0, 2, 0.5]]
    np.testing.assert_allclose(
        affine_maps(parameters_of(view_settings.evaluation(8), 16))[0], expected
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_views_are_the_same_with_any_number_of_threads(channels: int):
    images = np.stack([textured(40, channels, seed) for seed in range(20)])
    rows = np.random.default_rng(0).permutation(20)
    settings = replace(view_settings.moco_v2(32), rotation=10.0)
    alone, maps = make_views(images, rows, settings, seed=1, epoch=2)
    for threads in (1, 3):
        with ThreadPoolExecutor(threads) as executor:
            shared, shared_maps = make_views(
                images, rows, settings, seed=1, epoch=2, executor=executor
            )
        np.testing.assert_array_equal(shared, alone)
        np.testing.assert_array_equal(shared_maps, maps)


def test_a_row_has_the_same_views_in_every_batch():
    images = np.stack([textured(40, 3, seed) for seed in range(12)])
    settings = view_settings.paper_retina(32)
    whole, maps = make_views(images, np.arange(12), settings, seed=1, epoch=0)
    part, part_maps = make_views(images, np.array([7, 2]), settings, seed=1, epoch=0)
    np.testing.assert_array_equal(part, whole[:, [7, 2]])
    np.testing.assert_array_equal(part_maps, maps[:, [7, 2]])


def test_seed_epoch_row_and_view_give_different_views():
    images = np.stack([textured(40, 3)] * 2)
    settings = view_settings.moco_v2(32)
    base, _ = make_views(images, np.arange(2), settings, seed=0, epoch=0)
    assert (base[0] != base[1]).any(axis=(1, 2, 3)).all()
    assert (base[:, 0] != base[:, 1]).any(axis=(1, 2, 3)).all()
    for seed, epoch in ((1, 0), (0, 1)):
        other, _ = make_views(images, np.arange(2), settings, seed=seed, epoch=epoch)
        assert (other != base).any(axis=(2, 3, 4)).all()


def test_views_are_those_of_draw_apply_and_affine_maps():
    images = [textured(40, 3, seed) for seed in range(10)]
    rows, settings = np.array([3, 9]), view_settings.paper_histopathology_finetune(32)
    pixels, maps = make_views(images, rows, settings, seed=5, epoch=6, views=3)
    for view in range(3):
        parameters = draw(settings, 40, 5, 6, rows, view)
        np.testing.assert_array_equal(maps[view], affine_maps(parameters))
        for i, row in enumerate(rows):
            np.testing.assert_array_equal(pixels[view, i], view_of(images[row], parameters, i))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_views_of_a_read_only_store(name: str, channels: int, tmp_path: Path):
    stored = np.stack([textured(50, channels, seed) for seed in range(4)])
    np.save(tmp_path / "images.npy", stored)
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    for size in (20, 50, 64):
        pixels, maps = make_views(images, np.arange(4), PRESETS[name](size), seed=0, epoch=0)
        assert pixels.dtype == np.uint8
        assert pixels.shape == (2, 4, size, size, channels)
        assert maps.shape == (2, 4, 2, 3)
        assert (pixels.std(axis=(2, 3, 4)) > 1).all()
    np.testing.assert_array_equal(images, stored)


def test_sources_are_not_written_even_where_nothing_is_resized():
    image = textured(24, 3)
    before = image.copy()
    changed(image, brightness=0.5, hue=0.2, blur_sigma=1.0, grey=True)
    np.testing.assert_array_equal(image, before)


def test_evaluation_is_the_image_itself_at_its_own_size():
    images = np.stack([textured(24, 3, seed) for seed in range(3)])
    pixels, maps = make_views(
        images, np.arange(3), view_settings.evaluation(24), seed=0, epoch=0, views=1
    )
    np.testing.assert_array_equal(pixels[0], images)
    np.testing.assert_array_equal(maps[0], [[[1, 0, 0], [0, 1, 0]]] * 3)


def test_size_zero_is_the_size_of_the_store():
    images = textured(24, 3)[np.newaxis]
    pixels, _ = make_views(images, np.array([0]), ViewSettings(), seed=0, epoch=0, views=1)
    np.testing.assert_array_equal(pixels[0], images)


def test_one_channel_ignores_colour():
    image = textured(24, 1)
    np.testing.assert_array_equal(changed(image, saturation=0.2, hue=0.3, grey=True), image)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", -1),
        ("crop_scale", (0.0, 1.0)),
        ("crop_scale", (0.5, 0.2)),
        ("crop_scale", (0.5, 1.2)),
        ("crop_ratio", (-1.0, 1.0)),
        ("horizontal_flip", 1.5),
        ("vertical_flip", -0.1),
        ("rotation", 181.0),
        ("brightness", -0.1),
        ("contrast", float("nan")),
        ("saturation", -1.0),
        ("hue", 0.6),
        ("jitter_probability", 2.0),
        ("grey_probability", -1.0),
        ("blur_probability", 1.1),
        ("blur_sigma", (0.0, 0.1)),
        ("blur_sigma", (0.1, 2.0)),  # pixels, as they once were
    ],
)
def test_settings_out_of_range_name_field_and_value(field: str, value: object):
    with pytest.raises(ValueError, match=rf"^ViewSettings\.{field} must be ") as caught:
        ViewSettings(**{"size": 24} | {field: value})
    assert str(value) in str(caught.value)


def test_presets_are_those_of_the_papers():
    colour = {
        "brightness": 0.4,
        "contrast": 0.4,
        "saturation": 0.4,
        "hue": 0.1,
        "jitter_probability": 0.8,
    }
    blur = {"blur_probability": 0.5, "blur_sigma": (0.1 / 224, 2 / 224)}
    common = colour | blur | {"grey_probability": 0.2}
    expected = {
        "moco_v2": common | {"crop_scale": (0.2, 1.0), "horizontal_flip": 0.5},
        "paper_chest": common | {"rotation": 30.0},
        "paper_chest_finetune": common | {"rotation": 30.0},
        "paper_histopathology": common | {"crop_scale": (0.4, 1.0), "horizontal_flip": 0.5},
        "paper_histopathology_finetune": common
        | {"crop_scale": (0.2, 1.0), "horizontal_flip": 0.5, "rotation": 30.0},
        "paper_retina": common | {"rotation": 30.0, "horizontal_flip": 0.5},
        "paper_retina_finetune": {
            "contrast": 0.4,
            "hue": 0.1,
            "jitter_probability": 0.8,
            "horizontal_flip": 0.5,
            "vertical_flip": 0.5,
        },
    }
    for name, fields in expected.items():
        assert PRESETS[name](224) == ViewSettings(size=224, **fields), name


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        (view_settings.moco_v2(0), {224: (0.1, 2.0), 56: (0.025, 0.5)}),
        (view_settings.paper_chest(512), {512: (0.1, 2.0)}),
        (view_settings.paper_histopathology_finetune(255), {255: (0.1, 2.0)}),
        (view_settings.views_for_modality("chest"), {100: (0.3, 6.0)}),
        (view_settings.views_for_modality("histopathology"), {100: (0.3, 2.2)}),
    ],
)
def test_blur_follows_the_size_of_the_view(
    settings: ViewSettings, sizes: dict[int, tuple[float, float]]
):
    for size, (low, high) in sizes.items():
        sized = replace(settings, size=size, blur_probability=1.0)
        drawn = draw(sized, 999, 0, 0, np.arange(4000), 0).blur_sigma
        assert low <= drawn.min() < low + 0.001 * high
        assert 0.999 * high < drawn.max() <= high * (1 + 1e-9)


def test_a_modality_changes_what_was_chosen_for_it_and_no_more():
    base = view_settings.moco_v2(48)
    assert (
        view_settings.views_for_modality(None, 48)
        == view_settings.views_for_modality("retina", 48)
        == base
    )
    chest = view_settings.views_for_modality("chest", 48)
    assert chest == replace(base, crop_scale=(0.5, 1.0), blur_sigma=(0.003, 0.06))
    tissue = view_settings.views_for_modality("histopathology", 48)
    assert tissue == replace(base, vertical_flip=0.5, blur_sigma=(0.003, 0.022))


def test_settings_import_nothing_heavy():
    code = (
        "import sys, medstrata.data.view_settings\n"
        "print({'cv2', 'numpy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
