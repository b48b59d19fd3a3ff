"""The test images that a classifier is most wrong about, and what in them it looked at.

Legend: N images, L columns of probability, B shown images, H W height and width.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medstrata.data.contact_sheet import TILE, ContactSheet
from medstrata.data.formats.grey_levels import to_bytes
from medstrata.data.labels import Task
from medstrata.data.view_settings import evaluation as unaugmented
from medstrata.data.views import make_views
from medstrata.evaluation.fit_result import FitResult
from medstrata.evaluation.setup import Evaluation
from medstrata.models.features import read_layer
from medstrata.runtime.optional import import_optional

_GAP, _LINE, _COLUMNS = 8, 15, 8
_BACKGROUND, _INK, _HOT = (255, 255, 255), (20, 20, 20), (213, 94, 0)
_STEPS = 16  # of the path that gradients are integrated along


@dataclass(frozen=True)
class WrongImage:
    """An image, the probability that its classifier gave to the truth, and where that went wrong.

    Attributes:
        row: Sample number.
        truth: In words.
        probability: Given to the truth, below 0.5.
        outputs: Weights of the logits whose sum argues for the wrong answer.
    """

    row: int
    truth: str
    probability: float
    outputs: tuple[float, ...]


def most_wrong(
    task: Task,
    rows: NDArray[np.int64],
    probability: NDArray[np.float32],
    patients: NDArray[np.integer],
    count: int,
) -> list[WrongImage]:
    """The images whose truth was given the least probability, one a patient, worst first.

    Args:
        task: With the answers.
        rows: Sample numbers, (N,).
        probability: Of the classes or labels, (N, L).
        patients: Whose each image is, (N,).
        count: How many at the most; only those below 0.5 are wrong enough.
    """
    targets = task.targets[rows]
    if task.kind == "multilabel":
        given = np.where(targets == 1, probability, 1 - probability)
        column = np.where(np.isnan(targets), np.inf, given).argmin(axis=1)
    elif task.kind == "binary":
        given = np.where(targets[:, None] == 1, probability, 1 - probability)
        column = np.zeros(len(rows), dtype=np.int64)
    else:
        given, column = probability, targets.astype(np.int64)
    to_truth = given[np.arange(len(rows)), column]
    order = np.argsort(to_truth, kind="stable")
    order = order[to_truth[order] < 0.5]
    first = np.sort(np.unique(patients[order], return_index=True)[1])[:count]
    return [
        WrongImage(
            int(rows[i]),
            _truth(task, targets[i], int(column[i])),
            float(to_truth[i]),
            _against(task, targets[i], int(column[i]), probability[i]),
        )
        for i in order[first]
    ]


def _truth(task: Task, target: NDArray[np.float64] | float, column: int) -> str:
    if task.kind == "multilabel":
        return f"{'' if np.atleast_1d(target)[column] == 1 else 'not '}{task.classes[column]}"
    return str(task.classes[int(target)])


def _against(
    task: Task, target: NDArray[np.float64] | float, column: int, probability: NDArray[np.float32]
) -> tuple[float, ...]:
    """Which logits, by which sign, argue for the wrong answer."""
    classes = len(task.classes)
    if task.kind == "multiclass":
        return tuple(float(one) for one in np.eye(classes)[int(probability.argmax())])
    if task.kind == "ordinal":  # a logit for each "is above"
        return (1.0 if probability.argmax() > target else -1.0,) * (classes - 1)
    positive = np.atleast_1d(target)[column] == 1
    outputs = np.zeros(classes if task.kind == "multilabel" else 1)
    outputs[column] = -1.0 if positive else 1.0
    return tuple(float(one) for one in outputs)


def write_wrong_images(
    evaluation: Evaluation,
    fitted: FitResult,
    rows: NDArray[np.int64],
    device: torch.device,
    *,
    count: int,
    saliency: bool,
) -> None:
    """Write wrong_images.png: thumbnails with truth and its probability, and no name of anyone.

    With saliency a heat map stands beneath each. Where no image is wrong nothing is written.

    Raises:
        MedstrataError: saliency is asked for, and captum is not installed.
    """
    store = evaluation.store
    wrong = most_wrong(evaluation.task, rows, fitted.test, store.patients[rows], count)
    if not wrong:
        return
    images = [store[one.row] for one in wrong]
    heat = _saliency(evaluation, fitted, wrong, device) if saliency else None
    columns = min(len(wrong), _COLUMNS)
    height = (2 if saliency else 1) * TILE + 2 * _LINE + _GAP
    lines = -(-len(wrong) // columns)
    sheet = ContactSheet(columns * (TILE + _GAP) - _GAP, lines * height, _BACKGROUND)
    for place, (one, pixels) in enumerate(zip(wrong, images, strict=True)):
        left, top = place % columns * (TILE + _GAP), place // columns * height
        sheet.thumbnail(left, top, pixels)
        if heat is not None:
            sheet.thumbnail(left, top + TILE, _overlaid(pixels, heat[place]))
        top += height - 2 * _LINE - _GAP
        sheet.words(left, top, one.truth, _INK, TILE)
        sheet.words(left, top + _LINE, f"given {one.probability:.3f}", _INK, TILE)
    sheet.save(evaluation.out / "wrong_images.png")


def _saliency(
    evaluation: Evaluation, fitted: FitResult, wrong: list[WrongImage], device: torch.device
) -> NDArray[np.float32]:
    """How much each place argued for the wrong answer, 0 to 1 of each image, (B, H, W).

    Source: Sundararajan, Taly, Yan 2017, "Axiomatic attribution for deep networks", from the mean
        image on.
    """
    captum = import_optional("captum.attr", "saliency", "saliency")
    loaded = fitted.encoder or evaluation.loaded
    backbone, head = loaded.backbone.to(device).eval(), fitted.head.folded()
    weight, bias = head.weight.to(device), head.bias.to(device)

    def evidence(images: Tensor, outputs: Tensor) -> Tensor:
        logits = read_layer(backbone(images), fitted.layer) @ weight.T + bias
        return (logits * outputs).sum(dim=1)

    settings = unaugmented(loaded.preprocessing.image_size)
    rows = np.array([one.row for one in wrong])
    pixels, _ = make_views(evaluation.store, rows, settings, seed=0, epoch=0, views=1)
    images = loaded.preprocessing(torch.from_numpy(pixels[0]).to(device))
    outputs = torch.tensor([one.outputs for one in wrong], device=device)
    gradients = captum.IntegratedGradients(evidence)
    given = gradients.attribute(
        images, n_steps=_STEPS, internal_batch_size=len(wrong), additional_forward_args=(outputs,)
    )
    # What argues against the wrong answer is left out; single pixels say nothing to the eye.
    heat = given.detach().float().sum(dim=1, keepdim=True).clamp(min=0)
    side = max(1, heat.shape[-1] // 16) | 1
    heat = torch.nn.functional.avg_pool2d(heat, side, stride=1, padding=side // 2)[:, 0]
    most = heat.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    shown: NDArray[np.float32] = (heat / most).cpu().numpy()
    return shown


def _overlaid(pixels: NDArray[np.generic], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """An image in grey with the heat in one colour on it."""
    grey = to_bytes(pixels).mean(axis=2)
    places = [np.arange(side) * of // side for side, of in zip(grey.shape, heat.shape, strict=True)]
    share = heat[np.ix_(*places)][..., None]
    mixed = (1 - share) * grey[..., None] + share * np.array(_HOT)
    return np.asarray(mixed.round(), dtype=np.uint8)
