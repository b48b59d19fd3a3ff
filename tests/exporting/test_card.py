"""The model card: what it says, what it keeps to itself, and that no text of a user breaks it."""

import json
import re
import shutil
from pathlib import Path

import yaml
from huggingface_hub import ModelCard

import medstrata as ms
from medstrata.runtime.markdown import escaped, plain, without_paths, yaml_block
from support.exported_runs import STORE, tuned_run

HOSTILE = (
    "</details><script>alert(1)</script> | [x](http://e.vil) `code` # *b*\n---\n# head\x07\u202e"
)


def front_matter(card: str) -> dict[str, object]:
    _, front, _ = card.split("---\n", 2)
    return dict(yaml.safe_load(front))


def test_card_of_a_backbone(evaluated_runs: Path, tmp_path: Path) -> None:
    folder = ms.export(
        evaluated_runs / "pre",
        "timm",
        tmp_path / "out",
        results=[evaluated_runs / "tuned", evaluated_runs / "frozen", evaluated_runs / "probed"],
        statements=ms.CardStatements(
            licence="Apache-2.0", author="R. Entgen", modality="chest X-ray"
        ),
    )
    card = (folder / "README.md").read_text()
    front = front_matter(card)
    assert front["license"] == "apache-2.0"
    assert front["library_name"] == "timm"
    assert front["pipeline_tag"] == "image-feature-extraction"
    for said in (
        "| store | chests.store |",
        "`0123abcd`",
        "| images | 60, of which 30 trained on |",
        "| modality | chest X\\-ray |",
        "| author | R. Entgen |",
        "| licence of the images | not stated |",
        "| recipe | fair/moco\\_mse |",
        "| started from | weights of a run or file |",
        "0.812 (0.700 to 0.900)",
        "0.625 (0.500 to 0.750)",
        "0.688 (0.500 to 0.750)",
        "linear probe of pooled features",
        "| size | 32 x 32 pixels |",
        "subtracted",
        "arXiv:2110.14805",
        "Not a medical device",
    ):
        assert said in card, said
    for kept in ("secret", "/home", "../", "jane"):
        assert kept not in card


def test_card_of_a_classifier_says_what_its_logits_are(
    evaluated_runs: Path, tmp_path: Path
) -> None:
    folder = ms.export(evaluated_runs / "tuned", "huggingface", tmp_path / "out")
    card = ModelCard.load(folder / "README.md")
    assert card.data.library_name == "timm"
    (score,) = card.data.eval_results
    assert (score.dataset_name, score.metric_type, score.metric_value) == (
        STORE["name"],
        "auroc",
        0.8125,
    )
    assert "logits: 1 (opaque); its sigmoid is the probability" in card.text
    assert "### Pre-training" in card.text
    assert "### Fine-tuning" in card.text
    config = json.loads((folder / "config.json").read_text())
    assert config["label_names"] == ["opaque"]
    assert config["problem_type"] == "multi_label_classification"


def test_ordinal_head_and_absent_encoder(tmp_path: Path) -> None:
    task = {"name": "grade", "kind": "ordinal", "classes": ["0", "1", "2"]}
    run = tuned_run(tmp_path / "run", "test_resnet", encoder="../gone/mse", task=task, outputs=2)
    folder = ms.export(run, "timm", tmp_path / "out")
    card = (folder / "README.md").read_text()
    assert "logits: 2 (above 0, above 1); the sigmoid of each" in card
    assert "Started from the encoder mse; its training is not known here." in card
    assert "kaku2021" not in card
    bare = ms.export(run, "timm", tmp_path / "bare", ms.ExportSettings(head=False))
    assert json.loads((bare / "config.json").read_text())["num_classes"] == 0


def test_imported_encoder(evaluated_runs: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(evaluated_runs / "pre", tmp_path / "run"))
    imported = {"kind": "import", "file": "theirs.pth", "layout": "DINO", "sha256": "beef"}
    (run / "result.json").write_text(json.dumps(imported))
    card = (ms.export(run, "timm", tmp_path / "out") / "README.md").read_text()
    assert "imported from theirs.pth (DINO layout, SHA-256 `beef`)" in card
    assert "| images | not stated |" in card
    assert "kaku2021" not in card


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    task = {"name": HOSTILE, "kind": "binary", "classes": ["no", HOSTILE]}
    run = tuned_run(tmp_path / "run", "test_resnet", encoder="scratch", task=task)
    folder = ms.export(
        run,
        "timm",
        tmp_path / "out",
        statements=ms.CardStatements(licence=HOSTILE, author=HOSTILE, modality="\x00\n"),
    )
    card = (folder / "README.md").read_text()
    front = front_matter(card)
    assert front["license"] == "other"
    assert front["license_name"] == plain(HOSTILE)
    outside = re.sub(r"(?ms)^(`{3,})\w+\n.*?^\1$", "", card.split("---\n", 2)[2])
    assert "<script" not in outside
    assert outside.count("</details>") == 1
    assert "# head" not in outside.replace("\\# head", "")
    assert "](http" not in outside
    assert "\x07" not in card
    assert "\u202e" not in card
    assert "| modality | not stated |" in card
    headings = [line for line in outside.splitlines() if line.startswith("## ")]
    assert len(headings) == 10
    rows = [line for line in outside.splitlines() if line.startswith("| author |")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 3


def test_text_is_cut_and_escaped() -> None:
    assert len(plain("x" * 1000)) == 300
    assert plain(" a\n\tb ") == "a b"
    assert escaped("a|b_c <i> &amp;") == "a\\|b\\_c &lt;i\\> &amp;amp;"


def test_settings_lose_places_and_cannot_end_their_block() -> None:
    settings = {
        "recipe": "fair/moco_mse",
        "weights": "/home/jane/w.safetensors",
        "nested": {"file": "C:\\jane", "home": "~jane", "task": "```\n# out"},
        "arms": ["a\x00b", "/mnt/jane"],
    }
    kept = without_paths(settings)
    assert kept == {"recipe": "fair/moco_mse", "nested": {"task": "``` # out"}, "arms": ["a b"]}
    block = yaml_block(kept)
    assert block.startswith("````yaml\n")
    assert block.count("````") == 2


def test_pre_training_of_other_weights_is_not_told(evaluated_runs: Path, tmp_path: Path) -> None:
    shutil.copytree(evaluated_runs, tmp_path / "runs")
    told = ms.export(tmp_path / "runs" / "tuned", "timm", tmp_path / "out")
    assert "### Pre-training" in (told / "README.md").read_text()
    path = tmp_path / "runs" / "pre" / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder_digest": "0" * 32}))
    told = ms.export(tmp_path / "runs" / "tuned", "timm", tmp_path / "again")
    assert "### Pre-training" not in (told / "README.md").read_text()


def test_the_card_says_how_images_become_squares(evaluated_runs: Path, tmp_path: Path) -> None:
    card = (ms.export(evaluated_runs / "tuned", "timm", tmp_path / "out") / "README.md").read_text()
    assert "`medstrata prepare --fit pad`" in card
    assert "pad with the mean colour instead: give them squares" in card


def test_timm_leaves_squares_without_a_border(evaluated_runs: Path, tmp_path: Path) -> None:
    import timm
    from PIL import Image
    from timm.data import create_transform, resolve_data_config

    folder = ms.export(evaluated_runs / "pre", "timm", tmp_path / "out")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    transform = create_transform(**resolve_data_config(model=model))
    square = Image.new("L", (64, 64), 200)
    assert len(transform(square).unique()) == 1  # nothing but the image's one grey
