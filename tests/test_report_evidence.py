"""What rests on predictions: made-up runs whose truth is known."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from medstrata.distribution import KsDistances, KsInterval, ks_distance
from medstrata.metrics import score
from medstrata.paired import Efficiency
from medstrata.report.ablation import ablation_section, source
from medstrata.report.calibration import reliability
from medstrata.report.collect import collect
from medstrata.report.compare import Bench, benches
from medstrata.report.differences import Family, families
from medstrata.report.efficiency import efficiency_section, told
from medstrata.report.evidence import gather
from medstrata.report.figures import styles
from medstrata.report.findings import findings, headline
from medstrata.report.gain import gain, gains_section
from medstrata.report.legacy_figures import legacy_section
from medstrata.report.page import write_report
from medstrata.report.shift import average, shifts
from predicted_runs import TASKS, Patients, change_result
from report_runs import STORE, pretrain_run
from test_report import HOSTILE, Page

THIN = "\N{NARROW NO-BREAK SPACE}"


def bench_of(folder: Path) -> Bench:
    (bench,) = benches_of(folder)
    return bench


def benches_of(folder: Path) -> tuple[Bench, ...]:
    runs = collect([folder]).finetune
    labels = {(run.arm, run.backbone): run.arm for run in runs}
    return benches(runs, labels)


def families_of(folder: Path) -> tuple[Family, ...]:
    bench = bench_of(folder)
    return families(bench, bench.comparisons[0])


def entries(table) -> dict[str, list]:
    return {row[0].text: list(row[1:]) for row in table.rows}


@pytest.fixture(scope="module")
def patients():
    return Patients(patients=60)


def seeds(folder: Path, patients: Patients, arm: str, skill: float, own: int, **changes) -> None:
    """Two seeds of an arm at 10 % of the labels."""
    for seed in (0, 1):
        probability = patients.predictions(skill, 10 * own + seed)
        name = f"{arm}-{own}-{changes.get('backbone', '')}{seed}"
        patients.run(folder / name, arm, 0.1, probability, seed=seed, **changes)


# Differences


def test_identical_arms_do_not_differ(tmp_path, patients):
    for arm in ("scratch", "moco"):
        seeds(tmp_path, patients, arm, 1.0, 0)
    (family,) = families_of(tmp_path)
    contrast = family.contrasts["moco", 0.1]
    assert (contrast.difference.value, contrast.difference.p_value, contrast.adjusted) == (0, 1, 1)
    assert (contrast.difference.per_seed, contrast.better) == ((0.0, 0.0), 0)


def test_better_and_worse_arms_are_found_and_said(tmp_path, patients):
    for arm, skill in {"scratch": 1.5, "moco": 1.5, "moco_bt": 6.0, "moco_mse": 0.0}.items():
        seeds(tmp_path, patients, arm, skill, own=len(arm))
    bench = bench_of(tmp_path)
    (comparison,) = bench.comparisons
    found = families(bench, comparison)
    assert [family.baseline for family in found] == ["scratch", "moco"]
    # Scratch and MoCo have met in the first table.
    assert [set(family.arms) for family in found] == [
        {"moco", "moco_bt", "moco_mse"},
        {"moco_bt", "moco_mse"},
    ]
    assert [found[1].contrasts[arm, 0.1].better for arm in ("moco_bt", "moco_mse")] == [1, -1]
    contrast = found[1].contrasts["moco_bt", 0.1]
    column = comparison.column(0.1, "macro_auroc")
    expected = column["moco_bt"].value - column["moco"].value
    assert contrast.difference.value == pytest.approx(expected)
    assert contrast.difference.p_value <= contrast.adjusted <= 2 * contrast.difference.p_value
    (finding,) = findings(bench, comparison, found)
    assert f"Against plain MoCo, moco_bt (+{expected:.3f}) is clearly better; " in finding.text
    assert "is clearly worse." in finding.text
    said = headline([bench], [[found]])
    assert said.startswith(
        f"With 10{THIN}% of the labels, arms with an intermediate loss are clearly better than "
        "plain MoCo in 1 of 2 comparisons and clearly worse than plain MoCo in 1 of 2 comparisons. "
        f"With 10{THIN}% of the labels"
    )
    over = found[0].contrasts["moco_bt", 0.1].difference.value
    assert said.endswith(
        f"It is clearly better than scratch (+{over:.3f}) and plain MoCo (+{expected:.3f})."
    )
    twice = headline([bench, bench], [[found], [found]])
    assert "in 2 of 4 comparisons and" in twice
    assert f"On cxr.store, subtype: with 10{THIN}% of the labels" in twice


def test_nothing_is_claimed_of_arms_that_differ_by_chance(tmp_path, patients):
    for arm in ("moco", "moco_bt"):
        seeds(tmp_path, patients, arm, 1.0, own=len(arm))
    found = families_of(tmp_path)
    assert found[0].contrasts["moco_bt", 0.1].better == 0
    said = headline([bench_of(tmp_path)], [[found]])
    assert "no arm with an intermediate loss is clearly better or worse than plain MoCo" in said
    (finding,) = findings(bench_of(tmp_path), bench_of(tmp_path).comparisons[0], found)
    assert finding.text.endswith("Against plain MoCo, moco_bt is not clearly apart.")


def test_only_seeds_with_the_same_labels_are_paired(tmp_path, patients):
    for arm in ("scratch", "moco"):
        seeds(tmp_path, patients, arm, 1.0, own=len(arm))
    subset = tmp_path / "moco-4-1/subset.csv"
    subset.write_text(subset.read_text() + "another\n")
    (family,) = families_of(tmp_path)
    assert family.contrasts["moco", 0.1].seeds == (0,)
    (tmp_path / "moco-4-0/predictions.parquet").unlink()
    (family,) = families_of(tmp_path)
    assert not family.contrasts
    assert f"no paired difference at 10{THIN}%" in family.notes[0].why
    assert "moco against scratch" in family.notes[0].what


def test_other_backbones_are_compared_and_marked(tmp_path, patients):
    seeds(tmp_path, patients, "scratch", 1.0, 0)
    seeds(tmp_path, patients, "moco", 1.0, 1, backbone="resnet50")
    seeds(tmp_path, patients, "moco_bt", 1.0, 2)
    (family, _) = families_of(tmp_path)
    assert set(family.arms) == {"moco", "moco_bt"}
    assert family.other_backbone == {"moco"}


# Mean gain


def test_gain_is_the_mean_of_the_sets(tmp_path):
    skills = {"scratch": 0.5, "moco": 2.0}
    for i, name in enumerate(("a", "b")):
        made = Patients(patients=40 + i, seed=i)
        for arm, skill in skills.items():
            store = {**STORE, "name": name}
            seeds(tmp_path / name, made, arm, skill, own=len(arm), store=store)
    seeds(tmp_path / "b", Patients(patients=41, seed=1), "imagenet", 1.0, 9, store=store)
    found = benches_of(tmp_path)
    expected = []
    for bench in found:
        column = bench.comparisons[0].column(0.1, "macro_auroc")
        expected.append(column["moco"].value - column["scratch"].value)
    mean = gain(found, "full", "moco", "scratch", 0.1)
    assert mean is not None
    assert mean.value == pytest.approx(np.mean(expected))
    assert dict(mean.parts) == pytest.approx(dict(enumerate(expected)))
    assert mean.interval[0] < mean.value < mean.interval[1]
    alone = [gain([bench], "full", "moco", "scratch", 0.1).interval for bench in found]
    # Sets drawn apart: the interval of their mean is narrower than the mean of theirs.
    assert mean.interval[1] - mean.interval[0] < 0.9 * np.mean([b - a for a, b in alone])
    table = gains_section(found).blocks[0].tables[0]
    shown = entries(table)
    places = [bench.store.name for bench in found]
    assert shown["imagenet"][0].notes[0].split(", ")[places.index("a")] == "–"
    assert gains_section(found[:1]) is None


# Label efficiency


def test_efficiency_in_words():
    reached = Efficiency(fraction=0.0312, low=0.01, high=None, reached=0.9)
    entry = told(reached, smallest=0.01)
    assert entry.text == f"3.1{THIN}%"
    assert entry.number == 0.0312
    assert entry.notes == (
        f"95{THIN}%: ≤ 1{THIN}% to beyond all",
        f"reached in 90{THIN}% of resamples",
    )
    never = told(Efficiency(fraction=None, low=None, high=None, reached=0.0), smallest=0.01)
    assert (never.text, never.number) == ("not reached", None)


def test_efficiency_finds_the_share_that_suffices(tmp_path, patients):
    for arm, skills in {"scratch": (0.0, 2.0), "moco": (2.0, 3.0), "moco_bt": (0, 0.1)}.items():
        for fraction, skill in zip((0.1, 1.0), skills, strict=True):
            probability = patients.predictions(skill, 3)
            patients.run(tmp_path / f"{arm}-{fraction}", arm, fraction, probability)
    bench = bench_of(tmp_path)
    section = efficiency_section([("name", bench, bench.comparisons[0])])
    shown = entries(section.blocks[0].tables[0])
    # At 10 % its predictions are those of scratch with all labels.
    assert shown["moco"][0].text == f"≤ 10{THIN}%"
    assert shown["moco_bt"][0].text == "not reached"
    assert shown["scratch"][0].text == "the reference"


# Shift


def test_shift_is_zero_between_equal_models_and_its_floor_too(tmp_path, patients):
    probability = patients.predictions(1.0)
    for seed in (0, 1, 2):
        for fraction in (0.1, 1.0):
            moved = probability**3 if fraction < 1 else probability
            for arm, values in {"moco": probability, "scratch": moved}.items():
                name = f"{arm}-{fraction}-{seed}"
                patients.run(tmp_path / name, arm, fraction, values, seed=seed)
    comparison = bench_of(tmp_path).comparisons[0]
    same, moved = shifts(comparison, "moco"), shifts(comparison, "scratch")
    assert same[0.1].mean.value == same[1.0].mean.value == moved[1.0].mean.value == 0
    distance = ks_distance(probability[:, 0] ** 3, probability[:, 0])
    assert moved[0.1].mean.value == pytest.approx(distance)
    assert moved[0.1].mean.low < distance < moved[0.1].mean.high
    # Three seeds, three pairs of two.
    assert (moved[0.1].pairs, moved[1.0].pairs) == (3, 3)


def test_average_of_distances_by_hand():
    def distances(*values: float) -> KsDistances:
        each = tuple(KsInterval(value=one, low=one - 0.1, high=one + 0.2) for one in values)
        return KsDistances(per_class=each, mean=each[0])

    shift = average([distances(0.2, 0.4), distances(0.4, 0.8)])
    assert [one.value for one in shift.per_class] == pytest.approx([0.3, 0.6])
    assert (shift.mean.low, shift.mean.high) == pytest.approx((0.2, 0.5))


# Calibration


@pytest.mark.parametrize("kind", ["binary", "multiclass"])
def test_bins_are_those_of_the_calibration_error(kind):
    made = Patients(TASKS[kind], patients=60)
    probability = made.predictions(1.0)
    found = reliability(made.target, [probability], kind)
    error = (found.counts * abs(found.probability - found.frequency)).sum() / found.counts.sum()
    assert error == pytest.approx(score("ece", made.target, probability, kind))
    assert found.counts.sum() == made.images


def test_bins_by_hand():
    """Two seeds together; an unknown label is left out."""
    target = np.array([[1.0, np.nan], [0.0, 1.0]])
    first = np.array([[0.95, 0.5], [0.97, 0.01]])
    found = reliability(target, [first, first], "multilabel")
    assert found.bins.tolist() == [0, 14]
    assert found.counts.tolist() == [2, 4]
    assert found.probability == pytest.approx([0.01, 0.96])
    assert found.frequency == pytest.approx([1.0, 0.5])


# Ablation


def encoder(folder: Path, arm: str, **intermediate) -> Path:
    run = pretrain_run(folder / arm, arm, epochs=1)
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"intermediate": intermediate}))
    return run


def tuned(folder: Path, patients: Patients, arm: str, named: str) -> None:
    for seed in (0, 1):
        run = folder / f"{arm}{seed}"
        patients.run(run, arm, 0.1, patients.predictions(1.0, seed), seed=seed)
        config = yaml.safe_load((run / "config.yaml").read_text())
        (run / "config.yaml").write_text(yaml.safe_dump(config | {"encoder": named}))


def test_ablation_holds_runs_that_differ_in_the_intermediate_loss_alone(tmp_path, patients):
    stages = {"stage1": 0.25, "stage2": 0.25, "stage3": 0.0}
    encoder(tmp_path / "pre", "moco", loss="none", weights=stages)
    encoder(tmp_path / "pre", "moco_mse", loss="mse", weights=stages, grids={"stage1": 1})
    late = encoder(tmp_path / "pre", "late", loss="mse", weights={"stage4": 2}, grids={"stage1": 4})
    other = encoder(tmp_path / "pre", "other", loss="mse", weights={"stage4": 1})
    (other / "config.yaml").write_text((other / "config.yaml").read_text() + "epochs: 7\n")
    lost = encoder(tmp_path / "pre", "lost")
    for arm in ("moco", "moco_mse", "late", "other", "lost"):
        tuned(tmp_path / "fine", patients, arm, f"/moved/pre/{arm}")
    collection = collect([tmp_path])
    section, notes = ablation_section(collection.pretrain, benches_of(tmp_path))
    assert [note.what for note in notes] == [f"{tmp_path.name}/pre/{lost.name}"]
    ((block,),) = (section.blocks,)
    (table,) = block.tables
    rows = {row[0].text: [entry.text for entry in row[1:4]] for row in table.rows}
    assert rows == {
        "moco": ["none, plain MoCo", "–", "–"],
        "moco_mse": ["mean squared error", "1, 2", "0.25 each"],
        "late": ["mean squared error", "4", "2"],
    }
    notes_of = {row[0].text: row[1].notes for row in table.rows}
    assert notes_of["late"] == ('grids {"stage1": 4}',)
    summary = bench_of(tmp_path).comparisons[0].column(0.1, "macro_auroc")["late"]
    (cell,) = next(row[4:] for row in table.rows if row[0].text == late.name)
    assert (cell.number, cell.interval) == (summary.value, summary.interval)


def test_encoder_is_found_by_folder_then_by_arm(tmp_path, patients):
    for store in ("a", "b"):
        pretrain_run(tmp_path / store / "moco", "moco", epochs=1)
    tuned(tmp_path / "fine", patients, "moco", "runs/b/moco")
    collection = collect([tmp_path])
    found = source(collection.finetune[0], collection.pretrain)
    assert found is not None
    assert found.files.name.endswith("b/moco")
    # Two of the same arm, and no folder to tell them apart.
    tuned(tmp_path / "again", patients, "moco", "elsewhere")
    again = collect([tmp_path / "again"]).finetune[0]
    assert source(again, collection.pretrain) is None
    assert source(again, collection.pretrain[:1]) == collection.pretrain[0]


# Legacy figures


def test_legacy_figures_stand_beside_the_right_ones(tmp_path, patients):
    seeds(tmp_path, patients, "moco", 1.0, 0)
    bench = bench_of(tmp_path)
    assert legacy_section([("name", bench, bench.comparisons[0])]) is None
    for seed in (0, 1):
        interval = {"macro_auroc": {"value": 0.5, "low": 0.4 + seed, "high": 0.6 + seed}}
        legacy = {"last_epoch": {"macro_auroc": 0.5 + seed}, "interval": interval}
        change_result(tmp_path / f"moco-0-{seed}", legacy=legacy)
    bench = bench_of(tmp_path)
    section = legacy_section([("name", bench, bench.comparisons[0])])
    assert "not to be used" in section.title
    (row,) = section.blocks[0].tables[0].rows
    assert row[2].number == bench.comparisons[0].column(0.1, "macro_auroc")["moco"].value
    assert row[3].number == pytest.approx(1.0)
    assert row[4].interval == pytest.approx((0.9, 1.1))


# The page


def test_every_section_is_in_the_page_and_data_is_escaped(tmp_path):
    arms = {"scratch": 1.0, "moco": 1.0, "moco_bt": 2.0, HOSTILE: 1.0}
    task = {**TASKS["multiclass"], "name": HOSTILE, "classes": [HOSTILE, "b", "c"]}
    for i, name in enumerate(("cxr.store", HOSTILE)):
        made = Patients(task, patients=20, seed=i)
        store = {**STORE, "name": name}
        for k, (arm, skill) in enumerate(arms.items()):
            for fraction in (0.1, 1.0):
                probability = made.predictions(skill * (1 + fraction), k)
                run = tmp_path / f"{i}-{k}-{fraction}"
                made.run(run, arm, fraction, probability, store=store)
                change_result(run, legacy={"interval": {"macro_f1": {"low": 0.1, "high": 0.2}}})
    weights = {"stage1": 1}
    encoder(tmp_path / "pre", "moco", loss="none", weights=weights)
    encoder(tmp_path / "pre", "moco_bt", loss=HOSTILE, weights=weights)
    (tmp_path / "0-3-1.0/predictions.parquet").unlink()
    page = Page(write_report([tmp_path], tmp_path / "out/r.html", files=False))
    for heading in (
        "Paired differences to the baselines",
        "Mean gain over data sets",
        "Label efficiency",
        "Few labels against all: how far the probabilities move",
        "Calibration",
        "Which stages, which weights",
        "As the paper's code computes it: not to be used",
        "Against scratch",
        "Reliability",
    ):
        assert heading in page.text, heading
    assert "no predictions.parquet: left out of what rests on predictions" in page.text
    # Its store is not the one of the encoders, nor does it name a folder.
    assert "which pre-training run its encoder came from is not plain" in page.text
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) > 20
    drawn = [data for tag, data in page.texts if tag == "text"]
    assert drawn
    assert not any(HOSTILE in data for data in drawn)


# What is missing


def test_what_cannot_be_computed_is_said(tmp_path, patients):
    for arm in ("a", "b"):
        seeds(tmp_path, patients, arm, 1.0, 0)
    found = benches_of(tmp_path)
    why = [note.why for note in gather(found, [], styles(["a", "b"])).notes]
    assert any("no arm named scratch or imagenet or moco" in one for one in why)
    assert any("neither label efficiency nor the shift" in one for one in why)
    patients.run(tmp_path / "full", "a", 1.0, patients.predictions(1.0))
    found = benches_of(tmp_path)
    told_of = {note.what[-3:]: note.why for note in gather(found, [], styles(["a", "b"])).notes}
    assert "its shift is not known" in told_of[": b"]
    assert "the floor of the shift is not known" in told_of[": a"]
