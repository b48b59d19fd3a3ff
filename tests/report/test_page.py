import json
import subprocess
import sys

import pytest

from medstrata.report.page import write_report
from medstrata.report.read.results import Finetune, Pretrain
from medstrata.report.read.runs import collect
from medstrata.runtime.errors import MedstrataError
from support.report_page import (
    HOSTILE,
    Page,
    has_unique_ids_that_links_reach,
    is_accessible,
    loads_and_runs_nothing,
)
from support.report_runs import STORE, TASK, finetune_run, pretrain_run, study


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Four arms, two seeds, two protocols; one run unfinished, one broken, one cell empty."""
    root = tmp_path_factory.mktemp("root")
    arms = ("scratch", "moco", "moco_mse", "moco_bt")
    study(root / "study", arms=arms)
    (root / "study/full/moco-0.1-seed1/result.json").unlink()
    (root / "study/full/moco-1-seed1/result.json").write_text('{"kind": "finetune",')
    for seed in (0, 1):
        (root / f"study/frozen/moco_bt-1-seed{seed}/result.json").unlink()
    return root


@pytest.fixture(scope="module")
def page(root, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "new" / "report.html"
    assert write_report([root], out, title="A title & more", files=False) == out
    assert [path.name for path in out.parent.iterdir()] == ["report.html"]
    return Page(out)


# The page as a document


@pytest.mark.parametrize(
    "check", [loads_and_runs_nothing, is_accessible, has_unique_ids_that_links_reach]
)
def test_page_is_a_good_document(page, check):
    check(page)


def test_figures_take_their_ink_from_the_page(root, tmp_path):
    text = write_report([root / "study/full"], tmp_path / "r.html", files=False).read_text(
        encoding="utf-8"
    )
    drawing = text[text.index("<figure>") : text.index("</figure>")]
    assert "currentColor" in drawing
    assert "var(--muted)" in drawing
    assert "#01020" not in text
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_every_table_scrolls_in_its_own_container(page):
    tags = [(name, a.get("class")) for name, a in page.elements]
    before = [tags[i - 1] for i, (name, _) in enumerate(tags) if name == "table"]
    assert set(before) == {("div", "scroll")}


def test_page_holds_every_part(page):
    for words in (
        "A title & more",
        "Findings",
        "Table 1. Images, patients and labels of each data set and split",
        "cxr.store train 4,077 2,868 2,970 bacteria, virus subtype two classes macro AUROC",
        "5,824 of 4,096 patients, 224 × 224 pixels, 1 channel",
        "two classes: bacteria and virus",
        "Whole network fine-tuned",
        "Encoder frozen, linear head",
        "contrastive loss",
        "Intermediate loss, by stage",
        "Effective rank, by stage",
        "Feature norm, by stage",
        "k-NN macro AUROC, subtype",
        "similarity of positives",
        "After epoch 3: features use 1.9 of 511 directions: dimensional collapse.",
        "training loss",
        "validation macro AUROC",
        "penalty on the weights",
        "queue_size: 65536",
        "Example CPU",
    ):
        assert words in page.text or any(
            words in (a.get("aria-label") or "") for _, a in page.elements
        ), words


def test_equal_views_are_shown_once(page):
    assert len(page.all("img")) == 2
    assert "as moco (seed 0), moco_mse (seed 0) saw them" in page.text
    assert "as moco_bt (seed 0) saw them" in page.text


def test_results_table_holds_the_numbers(page, root):
    result = json.loads((root / "study/full/scratch-0.01-seed0/result.json").read_text())
    other = json.loads((root / "study/full/scratch-0.01-seed1/result.json").read_text())
    scores = [one["test"]["scores"]["macro_auroc"] for one in (result, other)]
    low, high = sorted(one["value"] for one in scores)
    worse = min(scores, key=lambda one: one["value"])
    cell = (
        f"{sum(one['value'] for one in scores) / 2:.3f} "
        f"[{worse['low']:.3f}, {worse['high']:.3f}] "
        "interval of the median seed "
        f"2 seeds: sd {(high - low) / 2**0.5:.3f}, {low:.3f} to {high:.3f}"
    )
    assert cell in page.text
    assert "30 images, 22 patients" in page.text


def test_best_is_marked_by_word_once_a_column(page):
    bold = [a for a in page.all("td") if a.get("class") == "best"]
    marks = [a for a in page.all("span") if a.get("class") == "mark"]
    # Two protocols, four metrics, three fractions.
    assert len(bold) == len(marks) >= 2 * 4 * 3


def test_what_is_missing_is_named(page):
    missing = page.text[page.text.index("What is missing, and cautions") :]
    assert "study/full/moco-0.1-seed1 : unfinished: there is no result.json; 10 of 10" in missing
    assert "study/full/moco-1-seed1 : result.json cannot be read" in missing
    assert "the encoder frozen: moco_bt : no finished run at 100 % of the labels" in missing
    assert "the encoder frozen: scratch : no finished run." in missing
    assert "the whole network fine-tuned: moco : no finished run of seed 1 at 10 %" in missing


def test_data_is_escaped(tmp_path):
    task = {**TASK, "name": HOSTILE, "classes": [HOSTILE, "b"]}
    subset = {"images": 3, "patients": 2, "per_class": {HOSTILE: 2, "b": 1}}
    for arm in (HOSTILE, "scratch"):
        run = finetune_run(tmp_path / f"run-{len(arm)}", arm, 1.0, task=task, subset=subset)
    score = {HOSTILE: {"value": 0.5, "low": 0.4, "high": 0.6}}
    test = {"images": 3, "patients": 2, "scores": score}
    store = {**STORE, "name": HOSTILE}
    for arm in (HOSTILE, "scratch"):
        name = tmp_path / f"other-{len(arm)}"
        run = finetune_run(name, arm, 0.5, protocol=HOSTILE, metric=HOSTILE, test=test, store=store)
    (run / "config.yaml").write_text(HOSTILE)
    (run / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    pretrained = pretrain_run(tmp_path / "pre", HOSTILE, epochs=2)
    records = (pretrained / "metrics.jsonl").read_text().replace("stage1", "<script>1")
    (pretrained / "metrics.jsonl").write_text(
        records.replace('"warnings": []', '"warnings": ["<b>"]')
    )
    page = Page(write_report([tmp_path], tmp_path / "r.html", title=HOSTILE, files=False))
    assert page.all("script") == [{}]
    assert "<b>" in page.text
    assert page.text.count(HOSTILE) > 20


# What is read


def test_runs_are_found_at_any_depth_and_once(root):
    study_folder = root / "study"
    everything = collect([study_folder])
    twice = collect([study_folder, study_folder / "full", study_folder / "pretrain/moco"])
    assert len(everything.of(Finetune)) == 2 * 3 * (4 + 3) - 4
    assert len(everything.of(Pretrain)) == 3
    assert twice == everything
    assert len(collect([study_folder / "pretrain/moco"]).of(Pretrain)) == 1


def test_folder_of_runs_with_settings_is_no_unfinished_run(tmp_path):
    finetune_run(tmp_path / "study/cell", "scratch", 1.0)
    (tmp_path / "study/config.yaml").write_text("arms: []")
    assert collect([tmp_path]).notes == ()


def test_no_run_is_one_line(tmp_path):
    with pytest.raises(MedstrataError, match="no run found in") as failure:
        write_report([tmp_path], tmp_path / "r.html", files=False)
    assert "\n" not in str(failure.value)
    with pytest.raises(MedstrataError, match="absent is not a folder"):
        write_report([tmp_path / "absent"], tmp_path / "r.html", files=False)
    assert list(tmp_path.iterdir()) == []


def test_target_that_is_a_folder_is_refused(root, tmp_path):
    with pytest.raises(MedstrataError, match="is a folder; give the file"):
        write_report([root], tmp_path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"kind": "survey"}', "unknown kind"),
        ('{"kind": "finetune"}', "lacks arm"),
        ('{"kind": "finetune", "x": NaN}', "NaN is not a number"),
    ],
)
def test_broken_result_is_a_note(tmp_path, text, why):
    (finetune_run(tmp_path / "bad", "moco", 0.1) / "result.json").write_text(text)
    finetune_run(tmp_path / "good", "scratch", 0.1)
    collection = collect([tmp_path])
    assert [run.arm for run in collection.of(Finetune)] == ["scratch"]
    (note,) = collection.notes
    assert note.what.endswith("/bad")
    assert why in note.why
    assert "\n" not in note.why


def test_result_outlives_its_neighbours(tmp_path):
    run = finetune_run(tmp_path / "run", "moco", 0.1)
    (run / "config.yaml").unlink()
    (run / "environment.json").write_text("{")
    (run / "metrics.jsonl").write_text("nonsense\n")
    collection = collect([run])
    assert len(collection.of(Finetune)) == 1
    assert "config.yaml, environment.json, metrics.jsonl missing" in collection.notes[0].why
    assert "macro AUROC" in Page(write_report([run], tmp_path / "r.html", files=False)).text


@pytest.mark.parametrize("finished", [True, False])
def test_page_without_scores(tmp_path, finished):
    run = pretrain_run(tmp_path / "pre", "moco", epochs=1)
    (run / "views.png").write_bytes(b"no picture")
    if not finished:
        (run / "result.json").unlink()
    text = Page(write_report([run], tmp_path / "r.html", files=False)).text
    assert ("shows pre-training only" if finished else "No run is finished") in text
    assert ("views.png cannot be read" if finished else "1 of 1 epochs are done") in text


def test_report_is_the_same_twice_and_imports_no_torch(root, tmp_path):
    run = root / "study/full/scratch-1-seed0"
    code = (
        "import sys; from pathlib import Path; from medstrata.report.page import write_report;"
        "write_report([Path(sys.argv[1])], Path(sys.argv[2]), files=False);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, run, tmp_path / "a.html"], check=True)
    write_report([run], tmp_path / "b.html", files=False)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_backbones_are_told_apart(tmp_path):
    finetune_run(tmp_path / "a", "scratch", 0.1)
    finetune_run(tmp_path / "b", "scratch", 0.1, backbone="resnet50")
    text = Page(write_report([tmp_path], tmp_path / "r.html", files=False)).text
    assert "scratch (resnet18)" in text
    assert "scratch (resnet50)" in text
