"""Neighbours and map of a representation."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from medstrata.data.store.store import Store
from medstrata.evaluation.atlas import atlas, neighbour_agreement
from medstrata.evaluation.neighbour_sheet import SheetNeighbour, SheetQuery, write_sheet
from medstrata.evaluation.seeded_encoder import seeded_encoder
from medstrata.evaluation.settings import AtlasSettings
from medstrata.evaluation.tsne import tsne_map
from medstrata.metrics.spectrum import effective_rank, rankme
from medstrata.models.features import StoredFeatures, extract_features
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import Stream


def run(store: Store, out: Path, task: str = "grade", kind: Any = None, **shown: int) -> Path:
    settings = AtlasSettings(**shown)
    return atlas("scratch", store, task, out, settings, kind=kind, backbone="test_resnet")


def result(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "result.json").read_text()))


@pytest.fixture(scope="module")
def drawn(tiny_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tiny_store, tmp_path_factory.mktemp("atlas") / "run", neighbours=3)


@pytest.fixture(scope="module")
def features(tiny_store: Store) -> StoredFeatures:
    loaded = seeded_encoder(
        EncoderSpec("scratch"),
        tiny_store,
        backbone="test_resnet",
        image_size=0,
        random_state=TorchRandomState(Stream.EVALUATED_WEIGHTS, 0),
    )
    return extract_features(
        loaded.backbone,
        tiny_store,
        tiny_store.rows("test"),
        loaded.preprocessing,
        torch.device("cpu"),
    )


def test_neighbours_against_brute_force(
    tiny_store: Store, drawn: Path, features: StoredFeatures
) -> None:
    facts = tiny_store.manifest.loc[features.rows].reset_index(drop=True)
    unit = features.pooled / np.linalg.norm(features.pooled, axis=1, keepdims=True)
    queries = result(drawn)["neighbours"]["queries"]
    assert len(queries) == len({query["sample_id"] for query in queries}) == 8
    for query in queries:
        place = facts.index[facts["sample_id"] == query["sample_id"]][0]
        cosine = unit @ unit[place]
        cosine[place] = -2
        nearest = np.argsort(-cosine)[:3]
        assert [near["sample_id"] for near in query["neighbours"]] == facts["sample_id"][
            nearest
        ].tolist()
        for near, other in zip(query["neighbours"], nearest, strict=True):
            assert near["cosine"] == pytest.approx(cosine[other], abs=1e-5)
            for key, column in (("same_label", "label.grade"), ("same_patient", "patient_id")):
                assert near[key] == (facts[column][other] == facts[column][place])


def test_queries_are_of_every_class(tiny_store: Store, drawn: Path) -> None:
    label = tiny_store.manifest.set_index("sample_id")["label.grade"]
    queries = result(drawn)["neighbours"]["queries"]
    tested = tiny_store.manifest.loc[tiny_store.rows("test"), "label.grade"]
    assert {label[query["sample_id"]] for query in queries} == set(tested)


def test_agreement_against_plain_loops() -> None:
    generator = np.random.default_rng(0)
    features = generator.normal(size=(30, 4)).astype(np.float32)
    labels, patients = generator.integers(0, 3, 30), generator.integers(0, 10, 30)
    agreement = neighbour_agreement(features, labels, patients, 4)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    label, patient, others = [], [], []
    for i in range(30):
        order = [int(j) for j in np.argsort(-unit @ unit[i]) if j != i]
        label += [labels[i] == labels[j] for j in order[:4]]
        patient += [patients[i] == patients[j] for j in order[:4]]
        elsewhere = [j for j in order if patients[j] != patients[i]]
        others += [labels[i] == labels[j] for j in elsewhere[:4]]
    pairs = [(i, j) for i in range(30) for j in range(30) if i != j]
    apart = [(i, j) for i, j in pairs if patients[i] != patients[j]]
    expected = {
        "label": np.mean(label),
        "label_chance": np.mean([labels[i] == labels[j] for i, j in pairs]),
        "patient": np.mean(patient),
        "patient_chance": np.mean([patients[i] == patients[j] for i, j in pairs]),
        "label_other_patients": np.mean(others),
        "label_other_patients_chance": np.mean([labels[i] == labels[j] for i, j in apart]),
    }
    assert agreement == pytest.approx(expected)


def test_agreement_of_separate_clusters_and_of_one_patient() -> None:
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.eye(3), 8, axis=0) + generator.normal(scale=0.01, size=(24, 3))
    group = np.repeat(np.arange(3), 8)
    one = neighbour_agreement(clusters.astype(np.float32), group, np.arange(24) % 2, 5)
    assert one["label"] == 1
    assert one["label_chance"] == pytest.approx(7 / 23)
    alone = neighbour_agreement(clusters.astype(np.float32), group, np.zeros(24, int), 5)
    assert alone["patient"] == alone["patient_chance"] == 1
    assert "label_other_patients" not in alone


def test_spectrum_is_that_of_the_test_features(drawn: Path, features: StoredFeatures) -> None:
    spectrum = result(drawn)["spectrum"]
    assert list(spectrum) == ["stage1", "stage2", "stage3", "stage4", "pooled"]
    for stage, values in features.layers().items():
        assert spectrum[stage]["effective_rank"] == pytest.approx(effective_rank(values), rel=1e-3)
        assert spectrum[stage]["rankme"] == pytest.approx(rankme(values), rel=1e-3)
        assert (spectrum[stage]["images"], spectrum[stage]["dimensions"]) == values.shape


def test_map_names_every_test_image(tiny_store: Store, drawn: Path) -> None:
    table = pd.read_parquet(drawn / "map.parquet")
    assert list(table) == ["sample_id", "patient_id", "site", "label", "x", "y"]
    expected = tiny_store.manifest.loc[tiny_store.rows("test")]
    assert table["sample_id"].tolist() == expected["sample_id"].tolist()
    assert table["patient_id"].tolist() == expected["patient_id"].tolist()
    assert table["label"].tolist() == expected["label.grade"].astype(str).tolist()
    assert np.isfinite(table[["x", "y"]]).all(axis=None)


def test_map_is_a_function_of_the_seed(tiny_store: Store, drawn: Path, tmp_path: Path) -> None:
    first = pd.read_parquet(drawn / "map.parquet")
    again = pd.read_parquet(run(tiny_store, tmp_path / "again", neighbours=3) / "map.parquet")
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    capped = pd.read_parquet(run(tiny_store, tmp_path / "capped", images=6) / "map.parquet")
    assert len(capped) == 6
    assert capped["sample_id"].tolist() == [
        name for name in first["sample_id"] if name in set(capped["sample_id"])
    ]
    other = pd.read_parquet(run(tiny_store, tmp_path / "o", images=6, seed=1) / "map.parquet")
    assert set(other["sample_id"]) != set(capped["sample_id"])


def test_plane_keeps_clusters_apart() -> None:
    generator = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 20)
    features = (10 * np.eye(3, 60)[group] + generator.normal(size=(60, 60))).astype(np.float32)
    placed = tsne_map(features)
    assert np.array_equal(placed, tsne_map(features))
    distance = np.linalg.norm(placed[:, None] - placed, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(1)] == group).all()


def test_plane_of_a_collapsed_encoder() -> None:
    assert np.isfinite(tsne_map(np.ones((20, 8), np.float32))).all()


@pytest.mark.parametrize(
    ("task", "kind", "labels"),
    [
        ("finding", None, {"0", "1"}),
        ("finding", "multilabel", {"finding", "none"}),
        ("grade: 0+1 vs 2+3", None, {"0+1", "2+3"}),
    ],
)
def test_labels_in_words(
    tiny_store: Store, tmp_path: Path, task: str, kind: str | None, labels: set[str]
) -> None:
    out = run(tiny_store, tmp_path / "run", task, kind=kind, queries=2)
    assert set(pd.read_parquet(out / "map.parquet")["label"]) == labels
    assert len(result(out)["neighbours"]["queries"]) == 2


def test_frames_say_what_neighbours_share(tiny_store: Store, tmp_path: Path) -> None:
    def near(same_label: bool, same_patient: bool) -> SheetNeighbour:
        return SheetNeighbour(1, "1", "b", 0.5, same_label, same_patient)

    query = SheetQuery(
        0,
        "a label so long that it does not fit below a thumbnail",
        "a",
        [near(False, False), near(True, False), near(True, True), near(False, True)],
    )
    write_sheet(tiny_store, [query, query], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as image:
        sheet = np.asarray(image)
    explained = [tuple(sheet[12, 12 + 114 * number]) for number in range(4)]
    assert len(set(explained)) == 4
    itself, same_patient, same_label, other_label = explained
    row = [tuple(colour) for colour in sheet[26 + 8 + 50]]
    frames = [row[left + 2] for left in (8, 130, 244, 358, 472)]
    assert frames == [itself, other_label, same_label, same_patient, same_patient]
    grey = sheet[26 + 8 + 5 : 26 + 8 + 5 + 96, 13 : 13 + 96, 0]
    np.testing.assert_array_equal(grey[::3, ::3], tiny_store[0][..., 0])  # 32 px, each 3 x 3


def test_arguments_out_of_range(tiny_store: Store, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="neighbours must be 1 or more, got 0"):
        run(tiny_store, tmp_path / "run", neighbours=0)
    assert not (tmp_path / "run").exists()
