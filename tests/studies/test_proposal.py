"""The study that is chosen for one's own images fits the budget, and is chosen once."""

from pathlib import Path

import pytest

from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.store.store import Store
from medstrata.models.cost import NetworkCost
from medstrata.runtime.errors import MedstrataError
from medstrata.studies import estimate, proposal
from medstrata.studies.proposal import propose
from medstrata.studies.request import Request
from medstrata.studies.settings import StudySettings
from medstrata.studies.study_file import load_study
from support.tiny import make_folder

PARAMETERS = {"test_resnet": 400_000, "resnet10t": 5e6, "resnet18": 1.1e7, "resnet50": 2.4e7}


@pytest.fixture(autouse=True)
def _a_machine_of_known_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Costs follow weights and pixels; 128 images of ResNet-10-T at 32 px take 0.32 s."""

    def measured(backbone: str, size: int, *_: object) -> NetworkCost:
        work = PARAMETERS[backbone] * size**2
        return NetworkCost(
            parameters=int(PARAMETERS[backbone]),
            activation_bytes=2e5 * size**2 / 1024,
            training_seconds=4e-13 * work,
            inference_seconds=1e-13 * work,
        )

    monkeypatch.setattr(estimate, "_measure", measured)
    monkeypatch.setattr(estimate, "default_threads", lambda: 1)
    monkeypatch.setattr(proposal, "free_memory", lambda: 16 * 2**30)


def chosen(store: Store, out: Path, budget: float, **others: str) -> StudySettings:
    request = Request(source=str(store.path), budget=budget, **others)
    return propose(request, out, jobs=1).settings


def test_a_longer_budget_gives_a_larger_study_that_fits(tiny_store: Store, tmp_path: Path) -> None:
    budgets = (330.0, 600.0, 24 * 3600.0)
    studies = [chosen(tiny_store, tmp_path / f"{one}", one) for one in budgets]
    for settings, budget in zip(studies, budgets, strict=True):
        expected = estimate.estimate(settings, tmp_path / "new", Path(), jobs=1)
        assert 0 < expected.seconds <= 0.7 * budget
        assert settings.seeds == 3
    short, frozen, whole = studies
    assert list(short.arms) == ["scratch", "recommended"]
    assert list(short.protocols) == ["frozen"]
    assert list(frozen.arms) == ["scratch", "moco", "recommended"]
    assert list(frozen.protocols) == ["frozen"]
    assert list(whole.protocols) == ["frozen", "full"]
    assert frozen.probe is None
    assert whole.probe is not None
    assert 1.0 in short.fractions
    # No arm sees the images at another size than the others.
    sizes = {short.protocols["frozen"].settings["views"]["size"], short.pretrain["views"]["size"]}
    assert sizes == {32}


def test_the_same_request_goes_on_and_another_is_refused(
    tiny_store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = chosen(tiny_store, tmp_path / "out", 3600)
    said = capsys.readouterr().err
    assert "read-outs of frozen features" in said
    assert "of memory can be had" in said
    assert chosen(tiny_store, tmp_path / "out", 3600) == before
    assert load_study(tmp_path / "out" / "chosen.yaml") == before
    with pytest.raises(MedstrataError, match=r"chosen for other options \(source=.*tiny.store\)"):
        chosen(tiny_store, tmp_path / "out", 7200)


def test_what_cannot_fit_is_refused_with_a_budget_that_can(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MedstrataError, match=r"at the least: give --budget (\d+)m") as refused:
        chosen(tiny_store, tmp_path / "out", 5)
    minutes = int(str(refused.value).split("--budget ")[1].split("m")[0])
    assert chosen(tiny_store, tmp_path / "out", 60 * minutes).seeds == 3
    monkeypatch.setattr(proposal, "free_memory", lambda: 2**29)
    with pytest.raises(MedstrataError, match="of memory at the least"):
        chosen(tiny_store, tmp_path / "narrow", 3600)
    assert not (tmp_path / "narrow").exists()


def test_stock_weights_are_compared_with_and_gone_on_from(
    tiny_store: Store, tmp_path: Path
) -> None:
    arms = chosen(tiny_store, tmp_path / "out", 3600, weights="imagenet").arms
    assert arms["stock"].encoder == "imagenet"
    assert arms["continued"].pretrain == {"weights": "imagenet"}


def test_weights_of_one_network_decide_the_network(
    tiny_store: Store, encoder: Path, tmp_path: Path
) -> None:
    settings = chosen(tiny_store, tmp_path / "run", 3600, weights=str(encoder))
    assert settings.backbone == "test_resnet"
    # A study may be read from another folder later: files are named from the root.
    assert settings.arms["stock"].encoder == str(encoder)
    assert settings.arms["continued"].pretrain == {"weights": str(encoder)}
    file = encoder / "exported" / "backbone.safetensors"
    with pytest.raises(MedstrataError, match="fit one network only: name it with --backbone"):
        chosen(tiny_store, tmp_path / "file", 3600, weights=f"imagenet={file}")
    with pytest.raises(MedstrataError, match="no run folder and no weights file at nothere"):
        chosen(tiny_store, tmp_path / "file", 3600, weights="nothere")
    assert not (tmp_path / "file").exists()


def test_a_folder_is_prepared_within_the_studys_folder(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    settings = PrepareSettings(labels=folder / "labels.csv")
    request = Request(source=str(folder / "images"), prepare=settings)
    made = propose(request, tmp_path / "out", jobs=1).settings.data["images"]
    assert made.store == str(tmp_path / "out" / "stores" / "images.store")
    assert made.task == "finding"
    with pytest.raises(MedstrataError, match="is a store already; options of labels"):
        propose(Request(source=str(made.store), prepare=settings), tmp_path / "other")


def test_images_without_labels_are_no_study(tmp_path: Path) -> None:
    folder = make_folder(tmp_path)
    (folder / "labels.csv").unlink()
    with pytest.raises(MedstrataError, match="has no labels: give --labels"):
        propose(Request(source=str(folder / "images")), tmp_path / "out")
