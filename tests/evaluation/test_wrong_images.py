"""Which images count as most wrong, the sheet of them, and what the heat map stands for."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from medstrata.data.store.store import Store
from medstrata.evaluation.finetune import finetune
from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.wrong_images import _saliency, most_wrong
from medstrata.models.backbones import Features
from medstrata.models.heads import LinearHead
from medstrata.models.preprocessing import identity
from medstrata.runtime import optional
from medstrata.runtime.errors import MedstrataError

NAN = np.nan


def task(kind, targets, classes=("a", "b", "c")):
    return SimpleNamespace(kind=kind, classes=classes, targets=np.array(targets))


@pytest.mark.parametrize(
    ("made", "probability", "expected"),
    [
        (
            task("binary", [0, 1, 1, 0], ("no", "yes")),
            [[0.9], [0.3], [0.6], [0.2]],
            [(0, "no", 0.1, (1.0,)), (1, "yes", 0.3, (-1.0,))],
        ),
        (
            task("multiclass", [2, 0, 1, 1]),
            [[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.0, 0.9, 0.1], [0.4, 0.45, 0.15]],
            [(1, "a", 0.2, (0.0, 0.0, 1.0)), (0, "c", 0.3, (0.0, 1.0, 0.0))],
        ),
        (
            task("ordinal", [2, 0, 1, 1]),
            [[0.1, 0.6, 0.3], [0.2, 0.1, 0.7], [0.0, 0.9, 0.1], [0.4, 0.45, 0.15]],
            [(1, "a", 0.2, (1.0, 1.0)), (0, "c", 0.3, (-1.0, -1.0))],
        ),
        (
            task("multilabel", [[1, 0, NAN], [NAN, NAN, 1], [0, 0, 0], [1, 1, 1]]),
            [[0.9, 0.8, 1.0], [1.0, 1.0, 0.4], [0.1, 0.1, 0.1], [0.9, 0.9, 0.9]],
            [(0, "not b", 0.2, (0.0, 1.0, 0.0)), (1, "c", 0.4, (0.0, 0.0, -1.0))],
        ),
    ],
    ids=["binary", "multiclass", "ordinal", "multilabel"],
)
def test_worst_come_first_with_what_argued_against_them(made, probability, expected):
    rows = np.arange(4)
    found = most_wrong(made, rows, np.array(probability), rows, 2)
    assert [(one.row, one.truth, one.outputs) for one in found] == [
        (row, truth, outputs) for row, truth, _, outputs in expected
    ]
    assert [one.probability for one in found] == pytest.approx([one[2] for one in expected])


def test_a_patient_is_shown_once_and_what_is_right_is_not():
    made, probability = task("binary", [1] * 5, ("no", "yes")), [[0.3], [0.1], [0.2], [0.6], [0.4]]
    found = most_wrong(made, np.arange(5), np.array(probability), np.array([0, 7, 7, 1, 2]), 9)
    assert [one.row for one in found] == [1, 0, 4]


def test_a_run_draws_them_and_names_nobody(tiny_store: Store, tmp_path: Path) -> None:
    settings = FinetuneSettings(protocol="frozen", layer="stage1", resamples=50)
    shown, none = (
        finetune(
            "scratch",
            tiny_store,
            "grade",
            0.5,
            tmp_path / str(count),
            replace(settings, wrong_images=count),
            backbone="test_resnet",
            features=tmp_path / "features",
        )
        for count in (2, 0)
    )
    with Image.open(shown / "wrong_images.png") as sheet:
        assert sheet.width in (96, 200)
        assert sheet.info == {}
    assert not (none / "wrong_images.png").exists()


class LooksLeft(torch.nn.Module):
    """Its one feature is the mean of the left half of an image."""

    def forward(self, images):
        return Features({}, images[..., : images.shape[-1] // 2].mean(dim=(1, 2, 3))[:, None])


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_heat_is_where_the_network_looked_and_for_the_wrong_answer(tiny_store, sign):
    pytest.importorskip("captum")
    size, channels = tiny_store.size, tiny_store.channels
    loaded = SimpleNamespace(backbone=LooksLeft(), preprocessing=identity(size, channels))
    fitted = SimpleNamespace(
        encoder=loaded, layer="pooled", head=LinearHead(torch.ones(1, 1), torch.zeros(1))
    )
    evaluation = SimpleNamespace(store=tiny_store, loaded=loaded)
    wrong = [SimpleNamespace(row=row, outputs=(sign,)) for row in (0, 1)]
    heat = _saliency(evaluation, fitted, wrong, torch.device("cpu"))
    assert heat.shape == (2, size, size)
    reach = size // 2 + size // 32 + 1  # of the smoothing
    assert (heat[:, :, reach:] == 0).all()
    # Pixels are 0 or more: they argue for a larger logit, and never for a smaller one.
    assert (heat.max() == 1) if sign > 0 else (heat == 0).all()


def test_without_captum_saliency_is_refused_before_anything_begins(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optional, "find_spec", lambda _: None)
    with pytest.raises(MedstrataError, match=r"saliency needs captum: pip install 'medstrata\["):
        finetune(
            "scratch", tiny_store, "finding", 1.0, tmp_path / "r", FinetuneSettings(saliency=True)
        )
    assert not (tmp_path / "r").exists()
