"""Momentum contrast: pairing, purity, the queue, and the key encoder's update."""

import copy
from collections import deque
from itertools import pairwise
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from medstrata.models.backbones import create_backbone
from medstrata.pretraining.info_nce import info_nce
from medstrata.pretraining.losses import (
    INTERMEDIATE_LOSSES,
    IntermediateLosses,
    build_intermediate,
)
from medstrata.pretraining.moco import EncoderWithHead, MoCo, Queue, update_key_encoder
from medstrata.pretraining.settings import IntermediateSettings

BATCH_NORM, NO_BATCH_NORM = "test_resnet", "test_convnext"
STAGES = ("stage1", "stage2", "stage3", "stage4")
OPTIONS: dict[str, dict[str, Any]] = {
    "mse": {},
    "barlow_twins": {"projector_size": 8, "on_weight": 0.1, "off_weight": 0.001},
    "centered_cosine": {},
}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int, seed: int) -> Tensor:
    """Images that differ from one another, and whose views differ."""
    return torch.rand(count, 1, 32, 32, generator=generator(seed)) * torch.linspace(
        0.5, 2, count
    ).reshape(-1, 1, 1, 1)


def unit(rows: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(rows, 16, generator=generator(seed)), dim=1)


def build_encoder(name: str, hidden_layers: int = 1) -> EncoderWithHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = create_backbone(name, in_channels=1, image_size=32)
        for key, parameter in backbone.named_parameters():
            if name == BATCH_NORM and not parameter.any() and key.endswith("weight"):
                nn.init.ones_(parameter)  # residual blocks that start at zero have no gradient
        return EncoderWithHead(backbone, head_size=16, hidden_layers=hidden_layers)


def build(name: str, *, loss: str | None = "mse", sub_batches: int = 1, **options: Any) -> MoCo:
    """A model whose key encoder has moved away from the query encoder."""
    encoder = build_encoder(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        settings = IntermediateSettings(loss=loss or "none", **(OPTIONS[loss] if loss else {}))
        intermediate = build_intermediate(settings, encoder.backbone.stage_channels)
    model = MoCo(encoder, intermediate, temperature=0.2, key_sub_batches=sub_batches, **options)
    with torch.no_grad():
        for number, parameter in enumerate(model.key_encoder.parameters()):
            noise = torch.randn(parameter.shape, generator=generator(number))
            parameter.add_(0.05 * parameter.std(correction=0) * noise)
    return model


def run(model: MoCo, batch: int = 6, **options: Any) -> Any:
    shuffle = torch.randperm(batch, generator=generator(5))
    views = images(batch, 1), images(batch, 2)
    return model(*views, unit(9, seed=3), **{"shuffle": shuffle, **options})


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    assert module.state_dict().keys() == before.keys()
    return {
        name for name, value in module.state_dict().items() if not torch.equal(value, before[name])
    }


# --- Encoder ---------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden_layers", [0, 1])
def test_projections_are_unit_length_images_of_the_pooled_features(hidden_layers: int) -> None:
    encoder = build_encoder(BATCH_NORM, hidden_layers).eval()
    projection, features = encoder(images(4, 1))
    torch.testing.assert_close(projection.norm(dim=1), torch.ones(4))
    linears = [module for module in encoder.head if isinstance(module, nn.Linear)]
    width = encoder.backbone.embed_dim
    assert [(one.in_features, one.out_features) for one in linears] == [
        *[(width, width)] * hidden_layers,
        (width, 16),
    ]
    hidden = features.pooled
    for layer in linears[:-1]:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp_min(0)
    raw = hidden @ linears[-1].weight.T + linears[-1].bias
    torch.testing.assert_close(projection, raw / raw.norm(dim=1, keepdim=True))


# --- The loss of a step ----------------------------------------------------------------------


def test_every_loss_is_in_the_table() -> None:
    assert OPTIONS.keys() == INTERMEDIATE_LOSSES.keys()


@pytest.mark.parametrize("loss", OPTIONS)
def test_loss_is_that_of_both_encoders_on_their_own_views(loss: str) -> None:
    model = build(NO_BATCH_NORM, loss=loss)
    result = run(model)
    query, query_features = model.query_encoder(images(6, 1))
    key, key_features = model.key_encoder(images(6, 2))
    contrastive = info_nce(query, key, unit(9, seed=3), 0.2)
    stages = {
        stage: stage_loss(
            query_features.stages[stage].mean((2, 3)), key_features.stages[stage].mean((2, 3))
        ).loss
        for stage, stage_loss in model.intermediate.losses.items()
    }
    torch.testing.assert_close(result.key, key)
    torch.testing.assert_close(result.contrastive, contrastive.loss.detach())
    assert not result.contrastive.requires_grad
    torch.testing.assert_close(result.positive_similarity, contrastive.positive_similarity)
    torch.testing.assert_close(result.negative_similarity, contrastive.negative_similarity)
    assert result.intermediate.keys() == stages.keys() == set(STAGES)
    for stage, value in stages.items():
        torch.testing.assert_close(result.intermediate[stage].loss, value, rtol=1e-4, atol=1e-6)
    total = contrastive.loss + 0.25 * sum(stages.values())
    torch.testing.assert_close(result.total, total, rtol=1e-4, atol=1e-6)


def test_without_stages_the_loss_is_plain_momentum_contrast() -> None:
    result = run(build(NO_BATCH_NORM, loss=None))
    assert result.intermediate == {}
    assert torch.equal(result.total.detach(), result.contrastive)


def test_own_old_keys_can_be_left_out() -> None:
    model = build(NO_BATCH_NORM, loss=None).eval()
    ids, negative_ids = torch.arange(6), torch.tensor([0, 0, 3, -1, 5, 9, 9, 1, 2])
    query, _ = model.query_encoder(images(6, 1))
    masked, plain = run(model, ids=ids, negative_ids=negative_ids), run(model)
    expected = info_nce(
        query, plain.key, unit(9, seed=3), 0.2, query_ids=ids, negative_ids=negative_ids
    )
    torch.testing.assert_close(masked.contrastive, expected.loss.detach())
    assert masked.contrastive < plain.contrastive - 0.01


def test_taps_of_both_views_are_gathered_before_they_are_compared() -> None:
    plain, doubled = (
        run(build(NO_BATCH_NORM)),
        run(build(NO_BATCH_NORM, gather=lambda tap: 2 * tap)),
    )
    for stage in STAGES:
        torch.testing.assert_close(
            doubled.intermediate[stage].loss, 4 * plain.intermediate[stage].loss
        )


# --- Shuffling -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [6, 8])  # 6 leaves sub-batches of unlike size
@pytest.mark.parametrize("loss", OPTIONS)
def test_keys_and_taps_stay_paired_under_shuffling(loss: str, batch: int) -> None:
    whole = run(build(NO_BATCH_NORM, loss=loss), batch)
    parts = run(build(NO_BATCH_NORM, loss=loss, sub_batches=4), batch)
    torch.testing.assert_close(parts.key, whole.key, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(parts.total, whole.total, rtol=1e-4, atol=1e-5)
    for stage in STAGES:
        torch.testing.assert_close(
            parts.intermediate[stage].loss, whole.intermediate[stage].loss, rtol=1e-3, atol=1e-6
        )
    # The comparison would notice: in another order the keys, and so the pairs, are others.
    assert not torch.allclose(whole.key.roll(1, 0), whole.key, rtol=1e-2, atol=1e-3)


def test_each_sub_batch_has_its_own_batch_statistics() -> None:
    model = build(BATCH_NORM, sub_batches=2).train()
    shuffle = torch.tensor([5, 0, 3, 1, 4, 2])
    result = run(model, shuffle=shuffle)
    with torch.no_grad():
        for part in (shuffle[:3], shuffle[3:]):
            key, _ = model.key_encoder(images(6, 2)[part])
            torch.testing.assert_close(result.key[part], key)
        whole, _ = model.key_encoder(images(6, 2))
    assert not torch.allclose(result.key, whole, atol=1e-2)


@pytest.mark.parametrize(
    ("batch", "sizes"), [(8, [2, 2, 2, 2]), (9, [3, 2, 2, 2]), (13, [4, 3, 3, 3])]
)
def test_there_are_as_many_sub_batches_as_asked_for(batch: int, sizes: list[int]) -> None:
    model, seen = build(BATCH_NORM, sub_batches=4), []
    model.key_encoder.register_forward_pre_hook(lambda _, views: seen.append(len(views[0])))
    run(model, batch)
    assert seen == sizes


# --- Purity and gradients --------------------------------------------------------------------


@pytest.mark.parametrize("sub_batches", [1, 2])
@pytest.mark.parametrize("loss", OPTIONS)
def test_evaluating_changes_nothing(loss: str, sub_batches: int) -> None:
    model = build(BATCH_NORM, loss=loss, sub_batches=sub_batches).eval()
    queue = Queue(9, 16, generator=generator(0))
    before, queue_before = snapshot(model), snapshot(queue)
    result = model(
        images(6, 1),
        images(6, 2),
        queue.keys,
        shuffle=torch.arange(6).flip(0),
        ids=torch.arange(6),
        negative_ids=queue.ids,
    )
    result.total.backward()
    assert changed(model, before) == set()
    assert changed(queue, queue_before) == set()


def test_a_training_step_changes_nothing_but_running_averages() -> None:
    model = build(BATCH_NORM).train()
    before = snapshot(model)
    run(model)
    assert changed(model, before) == {
        name for name in before if "running_" in name or "num_batches" in name
    }


@pytest.mark.parametrize("name", [BATCH_NORM, NO_BATCH_NORM])
@pytest.mark.parametrize("loss", OPTIONS)
def test_gradients_reach_everything_but_the_key_encoder(name: str, loss: str) -> None:
    model = build(name, loss=loss, sub_batches=2)
    negatives, key_view = unit(9, seed=3).requires_grad_(), images(6, 2).requires_grad_()
    result = model(images(6, 1), key_view, negatives, shuffle=torch.arange(6))
    assert not result.key.requires_grad
    assert not any(parameter.requires_grad for parameter in model.key_encoder.parameters())
    result.total.backward()
    assert negatives.grad is None
    assert key_view.grad is None
    assert all(parameter.grad is None for parameter in model.key_encoder.parameters())
    for part in (model.query_encoder, model.intermediate):
        for parameter in part.parameters():
            assert torch.isfinite(parameter.grad).all()
            assert parameter.grad.abs().max() > 0


# --- The key encoder's update ----------------------------------------------------------------


def test_the_key_encoder_starts_as_a_copy_of_its_own() -> None:
    encoder = build_encoder(BATCH_NORM)
    model = MoCo(encoder, IntermediateLosses({}, {}), temperature=0.2, key_sub_batches=1)
    assert changed(model.key_encoder, snapshot(model.query_encoder)) == set()
    with torch.no_grad():
        for parameter in model.query_encoder.parameters():
            parameter.add_(1)
    moved = changed(model.key_encoder, snapshot(model.query_encoder))
    assert moved == {name for name, _ in model.query_encoder.named_parameters()}


@pytest.mark.parametrize("momentum", [0.0, 0.9, 0.999])
def test_the_key_encoder_moves_by_the_formula_and_keeps_its_buffers(momentum: float) -> None:
    model = build(BATCH_NORM).train()
    run(model)  # so that the buffers of the two encoders differ
    query, key = snapshot(model.query_encoder), snapshot(model.key_encoder)
    update_key_encoder(model, momentum)
    assert changed(model.query_encoder, query) == set()
    parameters = dict(model.key_encoder.named_parameters())
    assert changed(model.key_encoder, key) <= parameters.keys()
    for name, parameter in parameters.items():
        expected = momentum * key[name].double() + (1 - momentum) * query[name].double()
        torch.testing.assert_close(parameter.double(), expected, rtol=1e-6, atol=1e-7)


def test_the_update_by_hand_and_without_gradient() -> None:
    # 0.75 * 4 + 0.25 * 8 = 5.
    model = build(BATCH_NORM)
    with torch.no_grad():
        for encoder, value in ((model.key_encoder, 4.0), (model.query_encoder, 8.0)):
            for parameter in encoder.parameters():
                parameter.fill_(value)
    update_key_encoder(model, 0.75)
    assert {parameter.unique().item() for parameter in model.key_encoder.parameters()} == {5.0}
    assert not any(parameter.requires_grad for parameter in model.key_encoder.parameters())


def test_momentum_one_leaves_the_key_encoder_bit_identical() -> None:
    model = build(BATCH_NORM)
    before = snapshot(model)
    update_key_encoder(model, 1.0)
    assert changed(model, before) == set()


# --- Queue -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "batches"),
    [(8, [4, 4, 4]), (7, [3, 3, 3, 3, 3]), (5, [5, 5]), (5, [1, 7, 2]), (3, [10, 10]), (1, [4, 1])],
)
def test_the_queue_wraps_like_a_deque(size: int, batches: list[int]) -> None:
    queue = Queue(size, 16, generator=generator(0))
    expected = deque(zip(queue.ids.tolist(), queue.keys.clone(), strict=True), maxlen=size)
    numbers = [0, *torch.tensor(batches).cumsum(0).tolist()]
    for first, last in pairwise(numbers):
        keys, ids = unit(last - first, seed=last), torch.arange(first, last)
        queue.enqueue(keys, ids)
        expected.extend(zip(ids.tolist(), keys, strict=True))
        oldest_first = (queue.pointer + torch.arange(size)) % size
        assert queue.ids[oldest_first].tolist() == [number for number, _ in expected]
        assert torch.equal(queue.keys[oldest_first], torch.stack([key for _, key in expected]))


def test_the_pointer_by_hand() -> None:
    # Size 5: three keys fill places 0-2; four more fill 3, 4, 0, 1; place 2 keeps its key.
    queue = Queue(5, 16, generator=generator(0))
    queue.enqueue(unit(3, seed=1), torch.tensor([10, 11, 12]))
    assert (queue.pointer.item(), queue.ids.tolist()) == (3, [10, 11, 12, -1, -1])
    queue.enqueue(unit(4, seed=2), torch.tensor([20, 21, 22, 23]))
    assert (queue.pointer.item(), queue.ids.tolist()) == (2, [22, 23, 12, 20, 21])


def test_the_queue_starts_with_seeded_unit_vectors_of_no_image() -> None:
    first, again, other = (Queue(6, 16, generator=generator(seed)) for seed in (0, 0, 1))
    torch.testing.assert_close(first.keys.norm(dim=1), torch.ones(6))
    assert first.ids.tolist() == [-1] * 6
    assert torch.equal(first.keys, again.keys)
    assert not torch.equal(first.keys, other.keys)


def test_the_queue_is_saved_whole_and_holds_no_gradient() -> None:
    queue, restored = (Queue(5, 16, generator=generator(seed)) for seed in (0, 1))
    keys = unit(3, seed=2).requires_grad_()
    queue.enqueue(keys, torch.arange(3))
    assert not queue.keys.requires_grad
    restored.load_state_dict(copy.deepcopy(queue.state_dict()))
    for one in (queue, restored):
        one.enqueue(unit(4, seed=3), torch.arange(3, 7))
    assert changed(restored, snapshot(queue)) == set()
