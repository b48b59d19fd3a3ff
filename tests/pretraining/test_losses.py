"""Each formula against a plain version, a value worked by hand, and its invariances."""

import math
import re
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from medstrata.models.pooling import global_average_pool
from medstrata.pretraining.losses import (
    INTERMEDIATE_LOSSES,
    BarlowTwins,
    CenteredCosine,
    IntermediateLosses,
    MeanSquaredError,
    build_intermediate,
    cross_correlation_terms,
)
from medstrata.pretraining.settings import IntermediateSettings, LossName
from medstrata.runtime.errors import MedstrataError


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def views(rows: int, size: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Two correlated arrays, as two views of the same images would give."""
    first = normal(rows, size, seed=seed)
    return first, 0.6 * first + 0.8 * normal(rows, size, seed=seed + 1)


# --- Pooling ---------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (3, 1, 4, 4), (2, 5, 1, 1), (1, 8, 7, 7)])
def test_global_average_pool_is_the_mean_over_positions(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    maps = normal(*shape).to(memory_format=layout).requires_grad_()
    pooled, expected = global_average_pool(maps), maps.mean((2, 3))
    torch.testing.assert_close(pooled, expected)
    upstream = normal(*expected.shape, seed=1)
    torch.testing.assert_close(
        torch.autograd.grad(pooled, maps, upstream), torch.autograd.grad(expected, maps, upstream)
    )


def test_global_average_pool_by_hand() -> None:
    # (1 + 2 + 3 + 6) / 4 = 3 and, doubled, 6.
    grey = torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])
    maps = torch.cat([grey, 2 * grey], dim=1)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert global_average_pool(maps.contiguous(memory_format=layout)).tolist() == [[3.0, 6.0]]


@pytest.mark.parametrize(("size", "grid"), [(6, 2), (5, 2), (7, 4), (4, 4), (3, 4)])
def test_the_grid_of_mse_averages_overlapping_windows(size: int, grid: int) -> None:
    maps = normal(2, 3, size, size)
    pooled = MeanSquaredError(3, grid=grid).pool(maps)
    assert pooled.shape == (2, 3, grid, grid)
    edges = [(i * size // grid, -(-(i + 1) * size // grid)) for i in range(grid)]
    for row, (top, bottom) in enumerate(edges):
        for column, (left, right) in enumerate(edges):
            expected = maps[:, :, top:bottom, left:right].mean((2, 3))
            torch.testing.assert_close(pooled[:, :, row, column], expected)


# --- Every intermediate loss -----------------------------------------------------------------

OPTIONS: dict[str, dict[str, Any]] = {
    "mse": {"grids": {"stage2": 2}},
    "barlow_twins": {"projector_size": 12, "on_weight": 0.3, "off_weight": 0.01},
    "centered_cosine": {},
}


def build(name: str, channels: int = 5) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = IntermediateSettings(loss=name, weights={"stage2": 1.0}, **OPTIONS[name])
        return build_intermediate(settings, {"stage2": channels}).losses["stage2"]


def test_every_loss_is_in_the_property_table() -> None:
    assert OPTIONS.keys() == INTERMEDIATE_LOSSES.keys() == set(get_args(LossName)) - {"none"}


@pytest.mark.parametrize("name", OPTIONS)
def test_gradient_reaches_query_maps_and_parameters(name: str) -> None:
    loss = build(name)
    query_maps, key_maps = normal(4, 5, 6, 6).requires_grad_(), normal(4, 5, 6, 6, seed=1)
    with torch.no_grad():
        key = loss.pool(key_maps)
    result = loss(loss.pool(query_maps), key)
    assert result.loss.shape == ()
    assert torch.isfinite(result.loss)
    result.loss.backward()
    for tensor in (query_maps, *loss.parameters()):
        assert torch.isfinite(tensor.grad).all()
        assert tensor.grad.abs().sum() > 0
    for value in result.diagnostics.values():
        assert value.shape == ()
        assert torch.isfinite(value)
        assert not value.requires_grad


@pytest.mark.parametrize("name", OPTIONS)
def test_order_of_the_batch_is_irrelevant_but_pairing_is_not(name: str) -> None:
    loss = build(name)
    query, key = (loss.pool(view.reshape(4, 5, 6, 6)) for view in views(4, 180))
    order = torch.tensor([2, 0, 3, 1])
    value = loss(query, key).loss
    torch.testing.assert_close(loss(query[order], key[order]).loss, value)
    assert not torch.isclose(loss(query, key[order]).loss, value, rtol=1e-2)


@pytest.mark.parametrize("name", OPTIONS)
def test_swapping_the_views_changes_nothing(name: str) -> None:
    loss = build(name)
    query, key = (loss.pool(view.reshape(4, 5, 6, 6)) for view in views(4, 180))
    torch.testing.assert_close(loss(key, query).loss, loss(query, key).loss)


@pytest.mark.parametrize("name", ["mse", "centered_cosine"])
def test_losses_without_projector_are_float32_whatever_they_are_given(name: str) -> None:
    loss, (query, key) = build(name), (view.bfloat16() for view in views(4, 5))
    assert torch.equal(loss(query, key).loss, loss(query.float(), key.float()).loss)


# --- Mean squared error ----------------------------------------------------------------------


def test_mse_by_hand() -> None:
    # Differences 0, 2, 3, 0: (0 + 4 + 9 + 0) / 4 = 3.25.
    query, key = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert MeanSquaredError(2)(query, key).loss.item() == 3.25


@pytest.mark.parametrize("grid", [1, 2, 3])
def test_mse_equals_numpy_over_batch_channels_and_positions(grid: int) -> None:
    loss, query, key = (
        MeanSquaredError(3, grid=grid),
        normal(2, 3, 6, 6),
        normal(2, 3, 6, 6, seed=1),
    )
    cells = [maps.numpy().reshape(2, 3, grid, 6 // grid, grid, 6 // grid) for maps in (query, key)]
    query_cells, key_cells = (cell.mean(axis=(3, 5)) for cell in cells)
    value = loss(loss.pool(query), loss.pool(key)).loss
    assert value.item() == pytest.approx(np.square(query_cells - key_cells).mean(), rel=1e-5)


def test_mse_fixed_point_and_invariances() -> None:
    loss, (query, key) = MeanSquaredError(6), views(4, 6)
    assert loss(query, query).loss == 0
    torch.testing.assert_close(loss(query + 3, key + 3).loss, loss(query, key).loss)
    torch.testing.assert_close(loss(3 * query, 3 * key).loss, 9 * loss(query, key).loss)


def test_mse_refuses_an_empty_grid() -> None:
    with pytest.raises(ValueError, match="grid must be 1 or more positions a side, got 0"):
        MeanSquaredError(3, grid=0)


# --- Centred cosine --------------------------------------------------------------------------


def test_centered_cosine_equals_numpy() -> None:
    query, key = views(6, 5)
    centred = [view.double().numpy() - view.double().numpy().mean(axis=0) for view in (query, key)]
    lengths = [np.sqrt((view**2).sum(axis=1)) for view in centred]
    cosine = (centred[0] * centred[1]).sum(axis=1) / (lengths[0] * lengths[1])
    loss, diagnostics = CenteredCosine(5)(query, key)
    assert loss.item() == pytest.approx((2 - 2 * cosine).mean(), rel=1e-5)
    assert diagnostics["cosine"].item() == pytest.approx(cosine.mean(), rel=1e-5)


def test_centered_cosine_by_hand() -> None:
    # Query means (1, 0): centred (1, 0), (-1, 0). Key means (2, 2): centred (1, 1), (-1, -1).
    # Both cosines are 1 / sqrt 2, so the loss is 2 - sqrt 2.
    query, key = torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.tensor([[3.0, 3.0], [1.0, 1.0]])
    assert CenteredCosine(2)(query, key).loss.item() == pytest.approx(2 - math.sqrt(2), abs=1e-6)


def test_centered_cosine_fixed_points_and_invariances() -> None:
    loss, (query, key) = CenteredCosine(5), views(6, 5)
    value, offset = loss(query, key).loss, normal(5, seed=3)
    assert loss(query, query).loss.item() == pytest.approx(0, abs=1e-6)
    assert loss(query, -query).loss.item() == pytest.approx(4, abs=1e-6)
    for changed in (
        loss(7 * query, key),
        loss(query, 0.01 * key),
        loss(query + offset, key),
        loss(query, key + offset),
    ):
        torch.testing.assert_close(changed.loss, value)


# --- Barlow Twins ----------------------------------------------------------------------------


def standard(view: Tensor) -> Tensor:
    return (view - view.mean(0)) / view.std(0, correction=0)


def naive_terms(first: Tensor, second: Tensor) -> tuple[float, float, list[float]]:
    on, off, diagonal = 0.0, 0.0, []
    for i in range(first.shape[1]):
        for j in range(first.shape[1]):
            c = sum(float(a) * float(b) for a, b in zip(first[:, i], second[:, j], strict=True))
            c /= len(first)
            if i == j:
                on += (c - 1) ** 2
                diagonal.append(c)
            else:
                off += c**2
    return on, off, diagonal


BATCH_AND_WIDTH = pytest.mark.parametrize(
    ("batch", "width"), [(3, 8), (6, 6), (7, 6), (12, 4), (2, 1)]
)


@BATCH_AND_WIDTH
def test_cross_correlation_terms_equal_a_double_loop(batch: int, width: int) -> None:
    first, second = (standard(view.double()) for view in views(batch, width))
    on, off, diagonal = cross_correlation_terms(first, second)
    expected_on, expected_off, expected_diagonal = naive_terms(first, second)
    assert on.item() == pytest.approx(expected_on, rel=1e-12)
    assert off.item() == pytest.approx(expected_off, rel=1e-12, abs=1e-12)
    assert diagonal.tolist() == pytest.approx(expected_diagonal, rel=1e-12)


@BATCH_AND_WIDTH
def test_cross_correlation_gradients_equal_those_of_the_matrix(batch: int, width: int) -> None:
    first, second = (standard(view.double()).requires_grad_() for view in views(batch, width))
    on, off, _ = cross_correlation_terms(first, second)
    matrix = first.T @ second / batch
    diagonal = matrix.diagonal()
    others = matrix - torch.diag(diagonal)
    for term, expected in ((on, (diagonal - 1).square().sum()), (off, others.square().sum())):
        torch.testing.assert_close(
            torch.autograd.grad(term, (first, second), retain_graph=True),
            torch.autograd.grad(expected, (first, second), retain_graph=True),
        )


def test_cross_correlation_by_hand() -> None:
    # C = first' second / 2 = [[1, -1], [1, -1]]: on (1-1)^2 + (-1-1)^2 = 4, off 1 + 1 = 2.
    first, second = torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), torch.tensor([[1.0, -1], [-1, 1]])
    on, off, diagonal = cross_correlation_terms(first, second)
    assert (on.item(), off.item(), diagonal.tolist()) == (4.0, 2.0, [1.0, -1.0])


@BATCH_AND_WIDTH
def test_cross_correlation_fixed_points_and_invariances(batch: int, width: int) -> None:
    first, second = (standard(view.double()) for view in views(batch, width))
    on, off, _ = cross_correlation_terms(first, second)
    same_on, _, same_diagonal = cross_correlation_terms(first, first)
    assert same_on.item() == pytest.approx(0, abs=1e-12)
    assert same_diagonal.tolist() == pytest.approx([1.0] * width)
    opposite_on, _, _ = cross_correlation_terms(first, -first)
    assert opposite_on.item() == pytest.approx(4 * width)
    for changed in (
        cross_correlation_terms(second, first),
        cross_correlation_terms(first.flip(1), second.flip(1)),
        cross_correlation_terms(-first, -second),
    ):
        torch.testing.assert_close(changed[:2], (on, off))


@pytest.mark.parametrize(("batch", "width"), [(2, 64), (64, 2)])
def test_cross_correlation_takes_the_cheaper_way(batch: int, width: int) -> None:
    # Two B x B products of length D, or one D x D product of length B; 2 operations a term.
    with FlopCounterMode(display=False) as counter:
        cross_correlation_terms(*views(batch, width))
    assert counter.get_total_flops() == min(4 * batch**2 * width, 2 * width**2 * batch)


def barlow(on_weight: float = 1.0, off_weight: float = 1.0, width: int = 7) -> BarlowTwins:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loss = BarlowTwins(5, projector_size=width, on_weight=on_weight, off_weight=off_weight)
        for norm in loss.norms:  # away from 1 and 0, so that leaving them out shows
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias)
    return loss


@pytest.mark.parametrize("batch", [4, 20])
def test_barlow_twins_equals_plain_numpy(batch: int) -> None:
    loss, (query, key) = barlow(on_weight=0.7, off_weight=0.02), views(batch, 5)
    weights = [linear.weight.detach().double().numpy() for linear in loss.linears]
    scales = [norm.weight.detach().double().numpy() for norm in loss.norms]
    shifts = [norm.bias.detach().double().numpy() for norm in loss.norms]

    def normalised(z: np.ndarray) -> np.ndarray:
        return (z - z.mean(axis=0)) / np.sqrt(z.var(axis=0) + 1e-5)

    def projected(view: Tensor) -> np.ndarray:
        z = view.double().numpy()
        for weight, scale, shift in zip(weights[:2], scales, shifts, strict=True):
            z = np.maximum(normalised(z @ weight.T) * scale + shift, 0)
        return normalised(z @ weights[2].T)

    matrix = projected(query).T @ projected(key) / batch
    on = ((np.diag(matrix) - 1) ** 2).sum()
    off = (matrix**2).sum() - (np.diag(matrix) ** 2).sum()
    value, diagnostics = loss(query, key)
    assert value.item() == pytest.approx(0.7 * on + 0.02 * off, rel=1e-4)
    assert diagnostics["on_diagonal"].item() == pytest.approx(on, rel=1e-4)
    assert diagnostics["off_diagonal"].item() == pytest.approx(off, rel=1e-4)
    assert diagnostics["mean_diagonal"].item() == pytest.approx(np.diag(matrix).mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("on_weight", "off_weight"),
    [(1.0, 0.0), (0.0, 1.0), (1 / 2048, 0.0051 / 2048), (5e-5 / 32, 5e-5 / 32)],
)
def test_barlow_twins_weighs_its_terms_separately(on_weight: float, off_weight: float) -> None:
    value, terms = barlow(on_weight, off_weight)(*views(6, 5))
    expected = on_weight * terms["on_diagonal"] + off_weight * terms["off_diagonal"]
    torch.testing.assert_close(value, expected)
    assert terms["on_diagonal"] > 0.1
    assert terms["off_diagonal"] > 0.1


def test_barlow_twins_normalises_each_view_by_itself() -> None:
    loss, (query, key) = barlow(), views(6, 5)
    alone, _ = loss.project(query, query)
    beside, _ = loss.project(query, 100 * key + 3)
    torch.testing.assert_close(alone, beside)
    assert loss(query, query).diagnostics["on_diagonal"].item() == pytest.approx(0, abs=1e-4)


def test_barlow_twins_projector_keeps_no_state_and_no_linear_biases() -> None:
    loss = barlow(width=7)
    assert list(loss.buffers()) == []
    shapes = {name: tuple(parameter.shape) for name, parameter in loss.named_parameters()}
    assert shapes == {
        "linears.0.weight": (7, 5),
        "linears.1.weight": (7, 7),
        "linears.2.weight": (7, 7),
        "norms.0.weight": (7,),
        "norms.0.bias": (7,),
        "norms.1.weight": (7,),
        "norms.1.bias": (7,),
    }


def test_barlow_twins_refuses_a_batch_of_one() -> None:
    with pytest.raises(ValueError, match="needs a batch of 2 images or more"):
        barlow()(normal(1, 5), normal(1, 5))


# --- The sum over stages ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mse", "barlow_twins", "centered_cosine"])
def test_a_network_of_three_stages_is_told_the_option_that_works(name: str) -> None:
    stages = dict.fromkeys(("stage1", "stage2", "stage3"), 4)
    settings = IntermediateSettings(loss=name, projector_size=4)
    words = (
        "the network has the stages stage1, stage2, stage3, not stage4: add "
        "--intermediate.weights '{stage1: 0.25, stage2: 0.25, stage3: 0.25}'"
    )
    with pytest.raises(MedstrataError, match=f"^{re.escape(words)}$"):
        build_intermediate(settings, stages)
    weights = yaml.safe_load(words.split("'")[1])
    built = build_intermediate(replace(settings, weights=weights), stages)
    assert list(built.losses) == list(stages)


def test_intermediate_losses_weigh_each_stage() -> None:
    stages = {"stage1": MeanSquaredError(2), "stage3": MeanSquaredError(2)}
    together = IntermediateLosses(stages, {"stage1": 0.25, "stage3": 2.0})
    zero, maps = torch.zeros(1, 2), {name: torch.ones(1, 2, 2, 2) for name in ("stage1", "stage2")}
    maps["stage3"] = torch.full((1, 2, 2, 2), 3.0)
    pooled = together.pool(maps)
    assert {name: tap.tolist() for name, tap in pooled.items()} == {
        "stage1": [[1.0, 1.0]],
        "stage3": [[3.0, 3.0]],
    }
    # 0.25 * 1^2 + 2 * 3^2 = 18.25; the stages' own losses stay unweighted.
    total, by_stage = together(pooled, {"stage1": zero, "stage3": zero})
    assert float(total) == 18.25
    assert {name: loss.loss.item() for name, loss in by_stage.items()} == {
        "stage1": 1.0,
        "stage3": 9.0,
    }


def test_intermediate_losses_without_stages_are_plain_moco() -> None:
    none = IntermediateLosses({}, {})
    assert none.pool({"stage1": torch.ones(1, 2, 2, 2)}) == {}
    assert none({}, {}) == (0.0, {})


def test_intermediate_losses_refuse_weights_of_other_stages() -> None:
    with pytest.raises(ValueError, match=r"losses for \['stage1'\] but weights for \['stage2'\]"):
        IntermediateLosses({"stage1": MeanSquaredError(2)}, {"stage2": 1.0})


@pytest.mark.parametrize("width", [8, 512])
def test_barlow_twins_weights_follow_the_projectors_width(width: int) -> None:
    settings = IntermediateSettings(loss="barlow_twins", projector_size=width)
    losses = build_intermediate(settings, dict.fromkeys(settings.weights, 6)).losses
    for loss in losses.values():
        assert (loss.on_weight, loss.off_weight) == (1 / width, 0.0051 / width)
    named = replace(settings, on_weight=0.5, off_weight=0.0)
    loss = build_intermediate(named, dict.fromkeys(settings.weights, 6)).losses["stage1"]
    assert (loss.on_weight, loss.off_weight) == (0.5, 0.0)
