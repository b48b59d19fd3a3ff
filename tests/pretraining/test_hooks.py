"""The losses on stages as a hook in somebody else's training loop."""

import copy
import warnings
from collections.abc import Iterator

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from medstrata.models.backbones import create_backbone
from medstrata.pretraining.hooks import _maps, _stages, intermediate_losses
from medstrata.pretraining.losses import MeanSquaredError
from medstrata.runtime.errors import MedstrataError
from support.snippets import snippets


def two_views(batch: int = 4, batches: int = 2) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        tuple(torch.rand(batch, 3, 32, 32, generator=generator) for _ in range(2))  # type: ignore[misc]
        for _ in range(batches)
    ]


def network() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model("resnet10t", num_classes=0)


@pytest.fixture
def quiet_imports() -> Iterator[None]:
    """Other people's packages warn of one another when they are imported."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.mark.parametrize(
    "name",
    [
        "resnet10t",
        "convnext_atto",
        "vit_tiny_patch16_224",
        pytest.param("swin_tiny_patch4_window7_224", marks=pytest.mark.slow),
    ],
)
def test_taps_are_the_stages_of_the_backbone(name: str) -> None:
    torch.manual_seed(0)
    size = 224 if "swin" in name else 64
    backbone = create_backbone(name, in_channels=3, image_size=size).eval()
    seen = {}
    for stage, tap in _stages(backbone.model).items():
        tap.module.register_forward_hook(
            lambda _module, _inputs, output, stage=stage, tap=tap: seen.__setitem__(
                stage, _maps(output, tap)
            )
        )
    images = torch.rand(2, 3, size, size)
    with torch.no_grad():
        backbone.model(images)
        plain = dict(seen)
        expected = backbone(images).stages
    assert plain.keys() == expected.keys()
    for stage, maps in expected.items():
        torch.testing.assert_close(plain[stage], maps, msg=stage)


def test_the_loss_is_the_weighted_sum_over_stages_of_the_two_passes() -> None:
    model = network()
    weights = {"stage2": 0.5, "stage4": 2.0}
    intermediate = intermediate_losses(model, "mse", weights=weights, grids={"stage2": 2})
    ((first, second),) = two_views(batches=1)
    model(first), model(second)
    found = intermediate()
    intermediate.remove()
    stages = []
    for view in (first, second):
        *_, stage2, _, stage4 = model.forward_intermediates(view, intermediates_only=True)
        stages.append({"stage2": stage2, "stage4": stage4})
    expected = torch.zeros(())
    for stage, weight in weights.items():
        loss = MeanSquaredError(1, grid=2 if stage == "stage2" else 1)
        one, other = (loss.pool(maps[stage]) for maps in stages)
        expected = expected + weight * loss(one, other).loss
    torch.testing.assert_close(found, expected)
    found.backward()
    assert model.layer2[0].bn2.weight.grad.abs().sum() > 0


def test_network_and_its_keys_stay_as_they_are() -> None:
    model, twin = network(), network()
    intermediate = intermediate_losses(model, "barlow_twins", projector_size=8)
    assert list(model.state_dict()) == list(twin.state_dict())
    ((first, _),) = two_views(batches=1)
    assert torch.equal(model(first), twin(first))
    projectors = sum(parameter.numel() for parameter in intermediate.parameters())
    assert 0 < projectors < sum(parameter.numel() for parameter in model.parameters())


def test_passes_in_evaluation_are_not_noted_and_others_must_be_two() -> None:
    model = network()
    intermediate = intermediate_losses(model, "centered_cosine")
    ((first, second),) = two_views(batches=1)
    with pytest.raises(MedstrataError, match="has seen 0 of 2 views"):
        intermediate()
    model.eval()
    model(first), model(second)
    model.train()
    model(first)
    with pytest.raises(MedstrataError, match="has seen 1 of 2 views"):
        intermediate()
    model(second)
    assert intermediate() > 0
    with pytest.raises(MedstrataError, match="has seen 0 of 2 views"):
        intermediate()  # nothing is counted twice


def test_a_momentum_encoder_is_the_second_view_and_learns_nothing() -> None:
    model = network()
    momentum = copy.deepcopy(model).requires_grad_(False)
    intermediate = intermediate_losses(model, "mse", key=momentum)
    ((first, second),) = two_views(batches=1)
    model(first)
    with torch.no_grad():
        momentum(first)
    assert intermediate() == 0
    model(first)
    with torch.no_grad():
        momentum(second)
    assert intermediate() > 0
    with pytest.raises(MedstrataError, match="cannot be copied"):
        copy.deepcopy(intermediate)


def test_unknown_networks_are_refused() -> None:
    with pytest.raises(MedstrataError, match="has no stages that are known"):
        intermediate_losses(nn.Sequential(nn.Linear(2, 2)), "mse")


def test_channels_of_torchvisions_networks() -> None:
    for make, expected in (
        (torchvision.models.resnet18, [64, 128, 256, 512]),
        (torchvision.models.resnet50, [256, 512, 1024, 2048]),
    ):
        assert [stage.channels for stage in _stages(make()).values()] == expected


def moved(before: dict[str, Tensor], model: nn.Module) -> bool:
    return any(not torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.usefixtures("quiet_imports")
@pytest.mark.parametrize("number", [0, 1])
def test_loops_of_the_page_run(number: int) -> None:
    torch.manual_seed(0)
    code = snippets("guide/losses.md")[number]
    made = {"batches": two_views()}
    exec(compile(code, "docs/guide/losses.md", "exec"), made)  # noqa: S102
    assert torch.isfinite(made["loss"])  # type: ignore[arg-type]
    with_it = made["loss"]
    assert "+ intermediate()" in code
    made = {"batches": two_views()}
    torch.manual_seed(0)
    exec(compile(code.replace("+ intermediate()", ""), "docs/guide/losses.md", "exec"), made)  # noqa: S102
    assert with_it != made["loss"]


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_imports")
def test_lightning_module_of_the_page_trains() -> None:
    import pytorch_lightning

    torch.manual_seed(0)
    made: dict[str, type] = {}
    exec(compile(snippets("guide/losses.md")[2], "docs/guide/losses.md", "exec"), made)  # noqa: S102
    model = made["MoCo"]()
    before = {key: value.clone() for key, value in model.backbone.state_dict().items()}
    trainer = pytorch_lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, torch.utils.data.DataLoader(two_views(), batch_size=None))
    assert moved(before, model.backbone)


def test_three_passes_are_refused_and_then_forgotten() -> None:
    model = network()
    intermediate = intermediate_losses(model, "mse")
    ((first, second),) = two_views(batches=1)
    for view in (first, second, first):
        model(view)
    with pytest.raises(MedstrataError, match="has seen 3 or more of 2 views"):
        intermediate()
    model(first), model(second)
    assert intermediate() > 0


def test_two_passes_of_one_network_are_not_those_of_two() -> None:
    model = network()
    momentum = copy.deepcopy(model).requires_grad_(False)
    intermediate = intermediate_losses(model, "mse", key=momentum)
    ((first, second),) = two_views(batches=1)
    model(first), model(second)
    with pytest.raises(MedstrataError, match="2 or more of 1 and, in the momentum encoder, 0 of 1"):
        intermediate()


def test_a_copy_of_the_network_is_not_the_network() -> None:
    model = network()
    intermediate = intermediate_losses(model, "mse")
    momentum = copy.deepcopy(model)  # takes the hooks along
    ((first, second),) = two_views(batches=1)
    model(first), model(second)
    momentum(second), momentum(first)
    loss = intermediate()
    loss.backward()
    assert model.layer2[0].bn2.weight.grad.abs().sum() > 0
