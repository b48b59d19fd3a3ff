"""The page as a document: what it holds, loads and says."""

import json
import subprocess
import sys

import pytest

from medstrata.report.page import write_report
from medstrata.runtime.errors import MedstrataError
from support.report_page import (
    HOSTILE,
    Page,
    has_unique_ids_that_links_reach,
    is_accessible,
    loads_and_runs_nothing,
)
from support.report_runs import STORE, TASK, finetune_result, finetune_run, pretrain_run


@pytest.mark.parametrize(
    "check", [loads_and_runs_nothing, is_accessible, has_unique_ids_that_links_reach]
)
def test_page_is_a_good_document(page, check):
    check(page)


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


def test_unknown_patients_are_not_counted(tmp_path):
    result = finetune_result("moco", 0.1, 0, "full")
    unknown = {"patients": 0, "unknown_patients": 10}
    changes = {name: {**result[name], **unknown} for name in ("store", "subset", "test")}
    splits = {name: {**of, **unknown} for name, of in result["store"]["splits"].items()}
    changes["store"]["splits"] = splits
    run = finetune_run(tmp_path / "run", "moco", 0.1, **changes)
    text = Page(write_report([run], tmp_path / "r.html", files=False)).text
    assert "848 test images of unknown patients" in text
    assert "Unknown for 10 of 5,824 images" in text
    assert "cxr.store train 4,077 unknown 2,970" in text
