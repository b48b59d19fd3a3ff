"""The report's sections on layers, from run folders to the page."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medstrata.metrics.intervals import score
from medstrata.report.compare.comparison import comparisons
from medstrata.report.compare.stages import shown_stages, stage_marks, stage_order
from medstrata.report.page import write_report
from medstrata.report.read.results import Atlas, Probe, Reuse
from medstrata.report.read.runs import collect
from medstrata.report.render.figures import PlotWords, arm_styles
from medstrata.report.render.formatting import percent_slug
from medstrata.report.render.parts import Folded, Part, Pictures, Terms
from medstrata.report.sections.atlas_map import LIMIT, Points, colouring, map_figure, read_points
from medstrata.report.sections.probing import probing_parts
from medstrata.report.sections.reuse_tables import reuse_findings
from support.arms import mean_interval
from support.layer_runs import READ, atlas_run, layer_study, probe_run, reuse_run
from support.predicted_runs import Patients, write_predictions
from support.report_page import (
    Page,
    has_unique_ids_that_links_reach,
    is_accessible,
    loads_and_runs_nothing,
)
from support.report_runs import STORE, TASK, finetune_run, study

HOSTILE = "<script>alert('1')</script>\"&$x_$"
ARMS = ("scratch", "moco", "moco_mse")


def write(runs: Path, to: Path) -> Page:
    return Page(write_report([runs], to, files=False))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Fine-tuning and all three kinds; two arms lack a run, one run is unfinished."""
    root = tmp_path_factory.mktemp("layers")
    study(root / "study", arms=ARMS)
    layer_study(root / "layers", arms=ARMS, legacy=True)
    (root / "layers/probe/moco-0.1-seed1/result.json").unlink()
    for seed in (0, 1):
        (root / f"layers/atlas/moco_mse-seed{seed}/result.json").write_text("{")
    return root


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    return write(root, tmp_path_factory.mktemp("out") / "report.html")


def section(page: Page, start: str, end: str) -> str:
    return page.text[page.text.index(start) : page.text.index(end)]


# The page as a document


@pytest.mark.parametrize(
    "check",
    [
        loads_and_runs_nothing,
        is_accessible,
        has_unique_ids_that_links_reach,
    ],
)
def test_page_is_a_good_document(page, check):
    check(page)


def test_sections_stand_only_where_there_are_runs(tmp_path, page):
    anchors = {"#probing", "#reuse", "#atlas"}
    assert anchors <= {one.get("href") for one in page.all("a")}
    finetune_run(tmp_path / "runs/tuned", "moco", 0.1)
    bare = write(tmp_path / "runs", tmp_path / "bare.html")
    assert not anchors & {one.get("href") for one in bare.all("a")}
    probe_run(tmp_path / "runs/probed", "moco", 0.1)
    probed = write(tmp_path / "runs", tmp_path / "probed.html")
    assert anchors & {one.get("href") for one in probed.all("a")} == {"#probing"}


def test_page_of_layers_alone(tmp_path):
    atlas_run(tmp_path / "runs/a", "moco")
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "looks into the layers of encoders and says nothing about how well they classify" in text
    assert "1 atlas run" in text
    assert "feature reuse : no such run was given" in text


def test_data_is_escaped(tmp_path):
    task = {**TASK, "name": HOSTILE, "classes": [HOSTILE, "virus"]}
    given = {"task": task, "store": {**STORE, "name": HOSTILE}}
    probe = probe_run(tmp_path / "runs/p", HOSTILE, 0.1, metric=HOSTILE, **given)
    reuse = reuse_run(tmp_path / "runs/r", HOSTILE, 0.1, legacy=True, **given)
    method = {"method": HOSTILE, "seed": 0}
    atlas = atlas_run(tmp_path / "runs/a", HOSTILE, map=method, **given)
    points = pd.read_parquet(atlas / "map.parquet")
    points.assign(label=HOSTILE, patient_id=HOSTILE, site=HOSTILE).to_parquet(atlas / "map.parquet")
    for run in (probe, reuse, atlas):
        text = (run / "result.json").read_text().replace("stage1", "<script>1")
        (run / "result.json").write_text(text)
    page = write(tmp_path / "runs", tmp_path / "r.html")
    # The page's own script is the only one.
    assert len(page.all("script")) == 1
    assert page.text.count(HOSTILE) > 15
    assert "<script>1" in page.text


# What each section says


def the(kind: type, parts: list[Part]):
    (part,) = (part for part in parts if isinstance(part, kind))
    return part


def probing_of(folder: Path, *arms: str) -> list[Part]:
    (comparison,), notes = comparisons(collect([folder]).of(Probe))
    assert notes == []
    return list(probing_parts(comparison, arm_styles(arms)))


def said(parts: list[Part]) -> dict[str, str]:
    return dict(the(Terms, parts).pairs)


def test_probing_tells_where_an_arm_is_level_with_its_end(tmp_path):
    def stage(value):
        return {"linear": {"value": value, "low": value - 0.02, "high": value + 0.02}}

    early = dict(zip(READ, map(stage, (0.60, 0.79, 0.80, 0.80, 0.5)), strict=True))
    late = dict(zip(READ, map(stage, (0.60, 0.62, 0.70, 0.80, 0.9)), strict=True))
    for arm, stages in (("early", early), ("late", late)):
        test = {"images": 9, "patients": 9, "resamples": 9, "stages": stages}
        probe_run(tmp_path / arm, arm, 0.1, test=test)
    parts = probing_of(tmp_path, "early", "late")
    sentences = said(parts)
    assert sentences["Level with the last stage"] == "early at stage2; late at stage4."
    clear = "The interval of early lies clear of that of late."
    assert sentences["stage2"].endswith(clear)
    assert sentences["stage3"] == f"early 0.800 comes first, late 0.700 next. {clear}"
    assert "share the first place at 0.600" in sentences["stage1"]
    # Nothing was read out by neighbours.
    assert [plot.words.title for plot in the(Pictures, parts).plots] == ["Linear layer"]


def probed(folder, patients, arm, seed):
    """A probe run whose predictions are those of its scores, better from stage to stage."""
    columns, stages = patients.frame(np.empty((patients.images, 1))).iloc[:, :-1], {}
    for i, stage in enumerate(READ[:3]):
        probability = patients.predictions(i, seed)
        value = score("macro_auroc", patients.target, probability, "binary")
        stages[stage] = {"linear": {"value": value, "low": 0.0, "high": 1.0}}
        columns[f"{stage}.linear.{patients.task['classes'][1]}"] = probability[:, 0]
    counts = {"images": patients.images, "patients": patients.images // 2, "resamples": 1000}
    probe_run(folder, arm, 0.1, seed, test={**counts, "stages": stages})
    write_predictions(folder, columns)


def test_probing_has_the_interval_of_the_mean(tmp_path):
    patients = Patients(patients=30)
    for seed in (0, 1):
        probed(tmp_path / f"run{seed}", patients, "moco", seed)

    def row():
        (table,) = the(Folded, probing_of(tmp_path, "moco")).parts
        return table.rows[0]

    for i, cell in enumerate(row()[2:5]):
        expected = mean_interval(
            "macro_auroc",
            patients.target,
            [patients.predictions(i, seed) for seed in (0, 1)],
            "binary",
            np.array(patients.patient_ids),
        )
        assert (cell.number, *cell.interval) == pytest.approx(expected)
        assert not any("median" in note for note in cell.notes)
    (tmp_path / "run1/predictions.parquet").unlink()
    assert row()[2].interval == (0.0, 1.0)
    assert "interval of the median seed" in row()[2].notes
    assert "no predictions.parquet" in write(tmp_path, tmp_path / "r.html").text


def test_errors_are_read_the_other_way(tmp_path):
    def stage(value):
        return {"linear": {"value": value, "low": value - 0.02, "high": value + 0.02}}

    stages = dict(zip(READ, map(stage, (0.4, 0.3, 0.21, 0.2, 0.2)), strict=True))
    test = {"images": 9, "patients": 9, "resamples": 9, "stages": stages}
    probe_run(tmp_path / "run", "moco", 0.1, metric="brier", test=test)
    flat = {name: stage(0.4) for name in READ}
    other = {"images": 9, "patients": 9, "resamples": 9, "stages": flat}
    probe_run(tmp_path / "flat", "scratch", 0.1, metric="brier", test=other)
    sentences = said(probing_of(tmp_path, "moco", "scratch"))
    assert sentences["Level with the last stage"] == "scratch at stage1; moco at stage3."
    assert sentences["stage3"].startswith(
        "moco 0.210 comes first, scratch 0.400 next. The interval"
    )


def test_probing_table_holds_the_numbers(page, root):
    scores = [
        json.loads((root / f"layers/probe/moco-1-seed{seed}/result.json").read_text())["test"][
            "stages"
        ]["stage2"]["knn"]["value"]
        for seed in (0, 1)
    ]
    text = section(page, "Layer-wise probing", "Feature reuse How alike")
    mean, low, high = (f"{one:.3f}" for one in (sum(scores) / 2, min(scores), max(scores)))
    assert re.search(rf"{mean}.{{0,80}}2 seeds: sd [0-9.]+, {low} to {high}", text)


def test_reuse_says_who_keeps_most_and_what_is_chance(tmp_path):
    for arm, value in (("kept", 0.8), ("lost", 0.1)):
        for seed in (0, 1):
            run = reuse_run(tmp_path / f"{arm}{seed}", arm, 0.1, seed)
            result = json.loads((run / "result.json").read_text())
            for i, one in enumerate(result["cka"]["linear_debiased"].values()):
                one["value"] = value + 0.01 * seed if i < 3 else 0.01
            (run / "result.json").write_text(json.dumps(result))
    runs = collect([tmp_path]).of(Reuse)
    at = {arm: [run for run in runs if run.arm == arm] for arm in ("kept", "lost")}
    most, chance = reuse_findings(at, READ)
    mean = (3 * 0.805 + 0.01) / 4
    assert f"kept keeps most ({mean:.3f}), lost least" in most
    assert "its range lies above that of the other arm" in most
    assert chance.startswith("No more alike than mismatched images (97.5th percentile): kept at s")
    assert "stage1" not in chance
    alone = {arm: runs[:1] for arm, runs in at.items()}
    assert "One seed only" in next(reuse_findings(alone, READ))


def test_reuse_that_overlaps_is_not_settled(tmp_path):
    runs = [reuse_run(tmp_path / f"r{seed}", "moco", 0.1, seed) for seed in (0, 1, 2)]
    read = collect(runs).of(Reuse)
    assert "Over seeds its range meets that of" in next(
        reuse_findings({"a": read[1:], "b": read[:2]}, READ)
    )


def test_legacy_is_shown_only_where_measured(page, tmp_path):
    assert "RBF CKA, legacy 1.000" in page.text
    assert "not to be relied on" in page.text
    reuse_run(tmp_path / "runs/r", "moco", 0.1)
    assert "legacy" not in write(tmp_path / "runs", tmp_path / "r.html").text.lower()


def test_heat_maps_stand_at_the_smallest_and_the_largest_fraction(page):
    captions = re.findall(r"between all pairs of stages, (\S+ %|\S+) of the labels", page.text)
    assert len(captions) == 2 * len(ARMS)
    assert len(set(captions)) == 2


def test_seeds_of_other_stages_do_not_spoil_heat_maps(tmp_path):
    reuse_run(tmp_path / "runs/0", "moco", 0.1)
    few = {"measure": "linear_debiased"} | {
        name: [[1.0]] for name in ("before_after", "before", "after")
    }
    reuse_run(tmp_path / "runs/1", "moco", 0.1, 1, stages=["stage1"], heatmap=few)
    assert "Heat maps" in write(tmp_path / "runs", tmp_path / "r.html").text


def test_atlas_shows_shares_beside_chance(page):
    text = section(page, "Nearest neighbours Table", "How to read them")
    assert "By chance" in text
    assert "0.007" in text
    assert "Of 30 neighbours of 6 images, 18 share the label and 6 the patient" in page.text


def test_patients_are_not_named(page, root):
    points = pd.read_parquet(root / "layers/atlas/moco-seed0/map.parquet")
    assert "patient 1 (" in page.text
    frequent = points["patient_id"].value_counts().index[0]
    assert not re.search(rf"\b{frequent}\b", page.text)


# Maps


def test_colours_go_to_the_frequent_and_grey_to_the_rest():
    values = [str(i) for i in range(9) for _ in range(20 - i)] + [None, None]
    points = Points(places=np.zeros((len(values), 2)), columns={"site": tuple(values)})
    entries = colouring("site", [points, points]).entries
    assert [name for _, _, name, _ in entries] == ["0", "1", "2", "3", "4", "5", "6", None]
    assert [images for *_, images in entries] == [20, 19, 18, 17, 16, 15, 14, 13 + 12 + 2]
    assert len({colour for colour, *_ in entries}) == 8


def test_classes_keep_the_order_of_the_task():
    points = Points(places=np.zeros((5, 2)), columns={"label": ("b", "b", "b", "a", "c")})
    entries = colouring("label", [points], order=("a", "b")).entries
    assert [name for _, _, name, _ in entries] == ["a", "b", "c"]


def test_map_draws_every_point_once_up_to_a_limit():
    draw = np.random.default_rng(0)
    for images in (50, LIMIT + 500):
        values = tuple("ab"[i % 2] for i in range(images))
        points = Points(places=draw.normal(size=(images, 2)), columns={"label": values})
        drawn = map_figure(points, colouring("label", [points]), PlotWords("m", "", ""))
        paths = [patch.get_path() for patch in drawn.figure.axes[0].patches]
        assert sum(len(path) for path in paths) == 2 * min(images, LIMIT)
        inside = np.concatenate([path.vertices for path in paths])
        assert inside.min() >= -0.001
        assert inside.max() <= 1.001


def test_sites_colour_the_map_where_there_are_several(tmp_path):
    run = atlas_run(tmp_path / "runs/a", "moco")
    points = pd.read_parquet(run / "map.parquet")
    points["site"] = ["north" if i % 3 else "south" for i in range(len(points))]
    points.to_parquet(run / "map.parquet")
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "coloured by site" in text
    assert "islands of one site each" in text
    assert "coloured by patient" not in text


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.unlink(), "no map.parquet"),
        (lambda path: path.write_bytes(b"PAR1 no"), "map.parquet cannot be read"),
        (lambda path: _without(path, "label"), "map.parquet cannot be read"),
        (lambda path: _without(path, None), "no usable places"),
    ],
)
def test_broken_map_is_a_note(tmp_path, damage, why):
    run = atlas_run(tmp_path / "runs/a", "moco")
    damage(run / "map.parquet")
    (run / "neighbours.png").write_bytes(b"no picture")
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert why in text
    assert "neighbours.png cannot be read: its neighbours are not shown" in text
    assert "Effective rank" in text
    assert "Maps How to read" not in text


def _without(path: Path, column: str | None) -> None:
    points = pd.read_parquet(path)
    changed = points.assign(x=float("nan")) if column is None else points.drop(columns=column)
    changed.to_parquet(path, index=False)


def test_columns_without_values_are_read(tmp_path):
    run = atlas_run(tmp_path / "a", "moco")
    points = pd.read_parquet(run / "map.parquet").assign(label=[1.0, float("nan")] * 200)
    points.to_parquet(run / "map.parquet", index=False)
    read = read_points(collect([run]).of(Atlas)[0])
    assert read.columns["label"][:2] == ("1.0", None)
    assert set(read.columns["site"]) == {None}


# What is read, and what is missing


def drop(*path: str):
    def change(result):
        for key in path[:-1]:
            result = result[key]
        del result[path[-1]]

    return change


def put(value, *path: str):
    def change(result):
        for key in path[:-1]:
            result = result[key]
        result[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("make", "change", "why"),
    [
        (probe_run, drop("test", "stages"), "lacks stages"),
        (probe_run, put(2, "fraction"), "fraction 2.0 is not above 0"),
        (probe_run, put([], "test", "stages"), "cannot be read"),
        (probe_run, put("x", "test", "stages", "stage1", "linear", "low"), "cannot be read"),
        (reuse_run, drop("cka", "linear", "stage1", "null"), "lacks null"),
        (reuse_run, put("x", "cka", "rbf", "stage1", "random"), "cannot be read"),
        (reuse_run, put([[1.0]], "heatmap", "before"), "a heat map is not of 5 x 5 stages"),
        (reuse_run, put("inf", "legacy"), "cannot be read"),
    ],
)
def test_broken_result_is_a_note(tmp_path, make, change, why):
    run = make(tmp_path / "runs/bad", "moco", 0.1)
    result = json.loads((run / "result.json").read_text())
    change(result)
    (run / "result.json").write_text(json.dumps(result))
    make(tmp_path / "runs/good", "scratch", 0.1)
    collection = collect([tmp_path / "runs"])
    assert [one.arm for one in collection.runs] == ["scratch"]
    (note,) = collection.notes
    assert note.what.endswith("/bad")
    assert why in note.why


def test_broken_atlas_is_a_note(tmp_path):
    run = atlas_run(tmp_path / "bad", "moco")
    text = (run / "result.json").read_text()
    for words in ('"rankme"', '"k"', '"queries"', '"method"'):
        (run / "result.json").write_text(text.replace(words, '"other"'))
        (note,) = collect([run]).notes
        assert f"lacks {words[1:-1]}" in note.why
    (run / "result.json").write_text(text.replace('"neighbours"', '"n"', 1))
    assert "left out" in collect([run]).notes[0].why


def test_runs_without_epochs_lack_nothing(tmp_path):
    probe_run(tmp_path / "p", "moco", 0.1)
    assert collect([tmp_path]).notes == ()


def test_undefined_scores_and_optional_parts_are_left_out(tmp_path):
    run = probe_run(tmp_path / "runs/p", "moco", 0.1)
    text = (run / "result.json").read_text()
    result = json.loads(text)
    result["test"]["stages"]["stage1"]["linear"]["value"] = None
    (run / "result.json").write_text(json.dumps(result))
    reuse_run(tmp_path / "runs/r", "moco", 0.1, heatmap=None)
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "no score (linear layer) at stage1" in text
    assert "no heat map of stage by stage was recorded" in text
    assert "Heat maps, stage by stage" not in text


def test_undefined_similarities_are_left_empty(tmp_path):
    run = reuse_run(tmp_path / "runs/r", "moco", 0.1)
    result = json.loads((run / "result.json").read_text())
    undefined = dict.fromkeys(("value", "subset_mean", "subset_sd", "random"))
    for by_stage in result["cka"].values():
        by_stage["stage1"] = undefined | {"null": {"mean": None, "high": None}}
        by_stage["stage2"] |= undefined | {"value": 0.4, "null": {"mean": None, "high": None}}
    for matrix in ("before_after", "before"):
        result["heatmap"][matrix][0] = [None] * 5
    (run / "result.json").write_text(json.dumps(result))
    page = write(tmp_path / "runs", tmp_path / "r.html")
    assert "no CKA at stage1" in page.text
    assert "not measured 0.400" in page.text
    assert [one for one in page.all("div") if "undefined, 0." in (one.get("aria-label") or "")]


def test_nothing_defined_is_no_section(tmp_path):
    stages = {"stage1": {"linear": {"value": None, "low": None, "high": None}}}
    test = {"images": 9, "patients": 9, "resamples": 9, "stages": stages}
    probe_run(tmp_path / "runs/p", "moco", 0.1, test=test)
    reuse_run(tmp_path / "runs/r", "moco", 0.1, cka={}, heatmap=None)
    anchors = {one.get("href") for one in write(tmp_path / "runs", tmp_path / "r.html").all("a")}
    assert not {"#probing", "#reuse"} & anchors


def test_gaps_are_said(page):
    missing = page.text[page.text.index("What is missing, and cautions") :]
    where = "subtype on cxr.store"
    assert f"atlas, {where}: moco_mse : no finished run." in missing
    assert (
        f"layer-wise probing, {where}: moco : no finished run of seed 1 at 10 % of the labels"
        in missing
    )
    assert "layers/atlas/moco_mse-seed0 : result.json cannot be read" in missing


def test_absent_kinds_and_data_sets_are_said(tmp_path):
    finetune_run(tmp_path / "runs/tuned", "moco", 0.1)
    probe_run(tmp_path / "runs/p", "moco", 0.1, store={**STORE, "name": "other.store"})
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "feature reuse : no such run was given: this report says nothing about it" in text
    assert "atlas : no such run was given" in text
    assert "layer-wise probing, subtype on cxr.store : no such run was given" in text


def test_kinds_are_held_against_the_arms_of_each_other(tmp_path):
    for arm in ("moco", "moco_mse"):
        probe_run(tmp_path / f"runs/{arm}", arm, 0.1)
    reuse_run(tmp_path / "runs/reused", "moco", 0.1)
    text = write(tmp_path / "runs", tmp_path / "r.html").text
    assert "feature reuse, subtype on cxr.store: moco_mse : no finished run" in text


def test_the_same_cell_twice_is_shown_once(tmp_path):
    probe_run(tmp_path / "a", "moco", 0.1)
    probe_run(tmp_path / "b", "moco", 0.1)
    (comparison,), (note,) = comparisons(collect([tmp_path]).of(Probe))
    assert len(comparison.every) == 1
    assert "the same arm, task, protocol, fraction and seed as" in note.why


def test_other_images_are_another_place(tmp_path):
    probe_run(tmp_path / "a", "moco", 0.1)
    probe_run(tmp_path / "b", "scratch", 0.1, store_digest="other")
    found, _ = comparisons(collect([tmp_path]).of(Probe))
    assert [one.arms for one in found] == [("moco",), ("scratch",)]


def test_pooled_features_that_are_the_last_stages_are_not_shown_twice(tmp_path):
    for name, make in (("p", probe_run), ("r", reuse_run)):
        run = make(tmp_path / "runs" / name, "moco", 0.1)
        result = json.loads((run / "result.json").read_text())
        stages = [result["test"]["stages"]] if make is probe_run else list(result["cka"].values())
        for one in stages:
            one["pooled"] = one["stage4"]
        (run / "result.json").write_text(json.dumps(result))
    page = write(tmp_path / "runs", tmp_path / "r.html")
    echo = "Stages: stage1, stage2, stage3 and stage4; the pooled features are the last stage’s."
    assert page.text.count(echo) == 2
    tables = section(page, "Layer-wise probing", "Heat maps")
    assert "pooled" not in tables.replace(echo, "")


def test_stages_are_named_in_order():
    order = stage_order([("stage1", "pooled"), ("stage1", "stage2", "pooled")])
    assert order == ("stage1", "stage2", "pooled")
    assert shown_stages([{"stage1": 1}, {"stage1": 2}]) == ("stage1",)
    assert shown_stages([{"stage1": 1, "pooled": 1}, {"stage1": 2, "pooled": 1}])[-1] == "pooled"
    assert stage_marks(order) == ("1", "2", "pooled")
    assert stage_marks(("<b>",)) == ("1",)
    assert percent_slug(0.01) == "1-percent"
    assert percent_slug(0.001) == "0-1-percent"
