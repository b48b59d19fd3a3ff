"""The model card of an export: README.md with YAML front matter, facts from run folders alone."""

import hashlib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from medstrata.exporting.citations import citations
from medstrata.exporting.scores import CardScore
from medstrata.exporting.settings import CardStatements
from medstrata.exporting.source import ExportSource, base_name, output_names
from medstrata.exporting.target import Target
from medstrata.metrics.defaults import LEVEL
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import read_config, read_result
from medstrata.runs.kinds import kind_of
from medstrata.runtime.markdown import escaped, plain, table, without_paths, yaml_block

_NOT_STATED = "not stated"
_WEIGHTS = {None: "random weights", "imagenet": "timm's ImageNet weights"}
# What the hub knows; any other licence is `other` with its name.
_LICENCES: tuple[str, ...] = (
    "apache-2.0",
    "mit",
    "bsd-2-clause",
    "bsd-3-clause",
    "cc0-1.0",
    "gpl-3.0",
    "agpl-3.0",
)
_LICENCES += tuple(f"cc-by-{kind}4.0" for kind in ("", "sa-", "nd-", "nc-", "nc-sa-", "nc-nd-"))


def model_card(
    source: ExportSource,
    target: Target,
    folder: Path,
    scores: Sequence[CardScore],
    statements: CardStatements,
) -> str:
    """Compose README.md of an export.

    Args:
        source: What was exported.
        target: For which program.
        folder: Where its other files lie.
        scores: What was measured of it; may be empty.
        statements: What only the user can know.

    Returns:
        Markdown with the YAML block that model hubs read; text of users is escaped.
    """
    title = f"{base_name(source.architecture)}, {plain(source.arm)}"
    parts = [
        f"---\n{_front_matter(source, target, scores, statements, title)}---\n",
        f"# {escaped(title)}\n\n{_summary(source)}\n",
        f"## Loading\n\nIn this folder:\n\n```python\n{target.snippet(source)}```\n",
        f"## Input\n\n{_input(source)}",
        f"## Output\n\n{_output(source)}",
        f"## Data\n\n{_data(source, statements)}",
        f"## Training\n\n{_training(source)}",
        f"## Results\n\n{_results(scores)}",
        f"## Intended use and limits\n\n{_limits(source)}",
        f"## Licence and authors\n\n{_rights(statements)}",
        f"## Citation\n\n{citations(_pretraining(source)[1] is not None)}",
        f"## Files\n\n{_files(folder)}",
    ]
    return "\n".join(part.rstrip("\n") + "\n" for part in parts)


def _front_matter(
    source: ExportSource,
    target: Target,
    scores: Sequence[CardScore],
    statements: CardStatements,
    title: str,
) -> str:
    fields: dict[str, Any] = {}
    if statements.licence is not None:
        licence = plain(statements.licence)
        known = licence.lower() in _LICENCES
        fields["license"] = licence.lower() if known else "other"
        if not known:
            fields["license_name"] = licence
    fields["library_name"] = target.library
    fields["pipeline_tag"] = (
        "image-feature-extraction" if source.head is None else "image-classification"
    )
    tags = ["medical-imaging", "medstrata", target.library, base_name(source.architecture)]
    if _pretraining(source)[1] is not None:
        tags += ["self-supervised-learning", "moco"]
    fields["tags"] = tags
    if source.head is not None and scores:
        own, store = scores[0], plain(scores[0].result["store"]["name"])
        score = {
            "task": {"type": "image-classification", "name": plain(own.result["task"]["name"])},
            "dataset": {"type": store, "name": store},
            "metrics": [{"type": own.result["metric"], "value": round(own.interval["value"], 4)}],
        }
        fields["model-index"] = [{"name": title, "results": [score]}]
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _summary(source: ExportSource) -> str:
    parameters = sum(value.numel() for value in source.backbone.parameters())
    kind = (
        "An encoder of medical images: it turns an image into features"
        if source.head is None
        else f"A classifier of medical images, trained on the task {_task(source)}"
    )
    return (
        f"{kind}. The network is timm's `{base_name(source.architecture)}`, "
        f"{parameters:,} parameters without a head, written by medstrata "
        f"{metadata.version('medstrata')}.\n"
    )


def _task(source: ExportSource) -> str:
    return escaped(source.result["task"]["name"])


def _input(source: ExportSource) -> str:
    options = source.preprocessing
    colours = "1 (grey)" if options.channels == 1 else "3 (red, green, blue)"
    rows = [
        ["size", f"{options.image_size} x {options.image_size} pixels"],
        ["channels", colours],
        ["value range", "divide by the largest value of the pixel type (255 of uint8): 0 to 1"],
        ["mean", ", ".join(f"{value:.6g}" for value in options.mean) + ", subtracted then"],
        ["std", ", ".join(f"{value:.6g}" for value in options.std) + ", divided by then"],
    ]
    how = (
        f"`medstrata prepare --fit {source.fit}`"
        if source.fit is not None
        else "`medstrata prepare` pads to a square with black and resizes, unless it was told "
        "otherwise"
    )
    return (
        table(["", ""], rows)
        + f"\nBring images to this size as the training images were: {how}. The transforms that "
        "timm and transformers make from config.json pad with the mean colour instead: give them "
        "squares.\n"
    )


def _output(source: ExportSource) -> str:
    lines = [f"- pooled features: {source.backbone.embed_dim} numbers an image\n"]
    names = output_names(source)
    if names:
        how = {
            "binary": "its sigmoid is the probability of that class",
            "multiclass": "a softmax over them gives probabilities",
            "multilabel": "the sigmoid of each is the probability of that label",
            "ordinal": "the sigmoid of each is the probability of a grade above the one named",
        }[source.result["task"]["kind"]]
        shown = ", ".join(escaped(name) for name in names)
        lines.append(f"- logits: {len(names)} ({shown}); {how}\n")
    return "".join(lines)


def _data(source: ExportSource, statements: CardStatements) -> str:
    result = source.result
    stated = [
        ["modality", _stated(statements.modality)],
        ["licence of the images", _stated(statements.data_licence)],
    ]
    if source.kind == "import":
        return table(["", ""], [["images", _NOT_STATED], *stated])
    store = result["store"]
    trained = result["images"] if source.kind == "pretrain" else result["subset"]["images"]
    rows = [
        ["store", escaped(store["name"])],
        ["digest", f"`{plain(source.settings['store_digest'])}`"],
        ["images", f"{store['images']:,}, of which {trained:,} trained on"],
    ]
    if source.kind == "finetune":
        rows += [
            ["patients", _patients(store)],
            ["task", f"{_task(source)} ({result['task']['kind']})"],
            ["share of the labels", f"{result['fraction']:.4g}"],
        ]
    side = store["size"]
    rows.append(["stored as", f"{side} x {side} pixels, {store['channels']} channel(s)"])
    return table(["", ""], [*rows, *stated])


def _patients(counts: Mapping[str, Any]) -> str:
    """How many patients are known, and of how many images they are not."""
    patients, unknown = counts["patients"], counts.get("unknown_patients", 0)
    if not unknown:
        return f"{patients:,}"
    return f"{patients:,} known (and {unknown:,} images of unknown)" if patients else "unknown"


def _training(source: ExportSource) -> str:
    if source.kind == "import":
        file, layout = source.result["file"], source.result["layout"]
        return (
            f"Not trained here: imported from {escaped(file)} ({escaped(layout)} layout, SHA-256 "
            f"`{plain(source.result['sha256'])}`).\n"
        )
    text, (settings, pretrained) = "", _pretraining(source)
    if pretrained is not None and settings is not None:
        text += _run_table("Pre-training", pretrained, settings)
    if source.kind == "finetune":
        if pretrained is None:
            text += f"Started from {_start(source)}.\n\n"
        text += _run_table("Fine-tuning", source.result, source.settings)
    return text


def _start(source: ExportSource) -> str:
    spec = EncoderSpec.parse(source.result["encoder"])
    match spec.kind:
        case "scratch":
            return "random weights"
        case "imagenet":
            return "ImageNet weights"
        case "path":
            return f"the encoder {escaped(spec.name)}; its training is not known here"


def _pretraining(source: ExportSource) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Settings and result of the pre-training run behind the encoder; None where there is none."""
    if source.kind == "pretrain":
        return dict(source.settings), dict(source.result)
    if source.kind == "import":
        return None, None
    spec = EncoderSpec.parse(source.result["encoder"]).resolved_from(source.run)
    if spec.kind != "path" or spec.path is None:
        return None, None
    run, result = spec.path, read_result(spec.path)
    if result is None or kind_of(result) != "pretrain":
        return None, None
    if result.get("encoder_digest") != source.result.get("encoder_digest"):
        return None, None  # what lies there now is not what the run started from
    return read_config(run / "config.yaml"), result


def _run_table(title: str, result: dict[str, Any] | Any, settings: dict[str, Any] | Any) -> str:
    facts = {
        "recipe": result.get("recipe"),
        "started from": _WEIGHTS.get(settings["weights"], "weights of a run or file")
        if "weights" in settings
        else None,
        "epochs": settings.get("epochs"),
        "steps": result.get("steps"),
        "batch size": settings.get("batch_size"),
        "seed": settings.get("seed"),
        "device": result.get("device"),
        "hours": f"{result['seconds'] / 3600:.2g}",
    }
    rows = [[name, escaped(value)] for name, value in facts.items() if value is not None]
    return (
        f"### {title}\n\n{table(['', ''], rows)}\n<details><summary>All settings</summary>\n\n"
        f"{yaml_block(without_paths(settings))}\n</details>\n\n"
    )


def _results(scores: Sequence[CardScore]) -> str:
    if not scores:
        return "No scores were given with `--results`; judge it on your own data before use.\n"
    rows = [
        [
            escaped(result["task"]["name"]),
            how,
            f"{result['fraction']:.4g} ({result['subset']['images']:,} images)",
            result["metric"],
            f"{interval['value']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})",
            f"{result['test']['images']:,} of {_patients(result['test'])} patients",
            escaped(result["store"]["name"]),
        ]
        for how, interval, result in scores
    ]
    return (
        table(
            [
                "task",
                "how",
                "labels",
                "metric",
                f"value ({100 * LEVEL:g} % interval)",
                "test images",
                "store",
            ],
            rows,
        )
        + "\nIntervals are percentiles over resampled patients of the test split of that store.\n"
    )


def _limits(source: ExportSource) -> str:
    use = (
        "to start from when training on few labels, or as fixed features; it diagnoses nothing"
        if source.head is None
        else "research on the task above; its probabilities were not calibrated"
    )
    return (
        f"- For {use}.\n"
        "- Not a medical device. It was not validated for clinical use.\n"
        "- Other scanners, hospitals, populations and ways of preparing images than those of its "
        "training images are untested.\n"
        "- Differences between groups of patients (age, sex, origin) were not examined here.\n"
        "- That something of single training images can be recovered from weights is not excluded: "
        "mind the terms of the images when passing it on.\n"
    )


def _rights(statements: CardStatements) -> str:
    rows = [
        ["licence of the weights", _stated(statements.licence)],
        ["author", _stated(statements.author)],
    ]
    return table(["", ""], rows)


def _stated(text: str | None) -> str:
    return _NOT_STATED if text is None or not plain(text) else escaped(text)


def _files(folder: Path) -> str:
    rows = []
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
        rows.append([f"`{file.name}`", f"{file.stat().st_size:,}", f"`{digest}`"])
    return table(["file", "bytes", "SHA-256"], rows)
