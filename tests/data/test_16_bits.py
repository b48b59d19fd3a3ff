"""Stores of 16 bits from their pixels to a training step."""

import numpy as np
import pytest
import torch
from PIL import Image

from medstrata.data.prepare.prepare import prepare
from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.view_settings import ViewSettings, moco_v2
from medstrata.data.views import apply, draw, make_views
from medstrata.models.preprocessing import store_statistics
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe


@pytest.fixture(scope="module")
def deep_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep")
    generator = np.random.default_rng(0)
    for number in range(24):
        values = generator.integers(100, 4000, (32, 32)).astype(np.uint16)
        Image.fromarray(values).save(folder / f"{number}.png")
    return prepare(folder, folder / "store", PrepareSettings(bits=16, window="full"))


def test_pixels_fill_16_bits(deep_store):
    image = deep_store[0]
    assert image.dtype == np.uint16
    assert (image.min(), image.max()) == (0, 65535)
    assert len(np.unique(image)) > 256  # more levels than 8 bits have
    with Image.open(deep_store.path.parent / deep_store.manifest["source"].iloc[0]) as file:
        values = np.asarray(file).astype(float)
    share = (values - values.min()) / (values.max() - values.min())
    np.testing.assert_array_equal(image[..., 0], np.rint(share * 65535))
    pixels = deep_store.read(deep_store.rows("train")) / 65535
    np.testing.assert_allclose(deep_store.mean, [pixels.mean()], rtol=1e-12)
    np.testing.assert_allclose(deep_store.std, [pixels.std()], rtol=1e-9)


def test_views_of_16_bits_are_those_of_8_bits_with_more_levels(deep_store):
    settings = moco_v2(24)
    rows = np.arange(8)
    deep, maps = make_views(deep_store, rows, settings, seed=1, epoch=0)
    eight = {int(row): (deep_store[row] // 257).astype(np.uint8) for row in rows}
    plain, same_maps = make_views(eight, rows, settings, seed=1, epoch=0)
    assert deep.dtype == np.uint16
    np.testing.assert_array_equal(maps, same_maps)
    assert np.abs(deep / 257 - plain).mean() < 1.5


def test_brightness_of_16_bits_by_hand():
    settings = ViewSettings(
        size=4, crop_scale=None, jitter_probability=1.0, brightness=0.4, contrast=0.0
    )
    image = np.arange(0, 64000, 4000, dtype=np.uint16).reshape(4, 4, 1)
    parameters = draw(settings, 4, 0, 0, np.arange(1), 0)
    out = np.empty_like(image)
    apply(image, parameters, 0, out)
    wanted = np.minimum(np.rint(image * float(parameters.brightness[0])), 65535)
    if not (parameters.flip_horizontal[0] or parameters.flip_vertical[0]):
        np.testing.assert_array_equal(out, wanted)
    assert sorted(out.ravel()) == sorted(wanted.ravel())


def test_input_is_normalised_from_16_bits(deep_store):
    preprocessing = store_statistics(32, 1, deep_store.mean, deep_store.std)
    inputs = preprocessing(torch.from_numpy(deep_store.read(deep_store.rows("train"))))
    assert inputs.dtype == torch.float32
    assert float(inputs.mean()) == pytest.approx(0, abs=1e-3)
    assert float(inputs.std()) == pytest.approx(1, abs=1e-2)


def test_pre_training_and_colour(deep_store, tmp_path):
    settings = recipe("fair/moco_mse", backbone="test_resnet", epochs=1, batch_size=8)
    run = pretrain(deep_store, settings, tmp_path / "run")
    assert (run / "exported" / "backbone.safetensors").is_file()
