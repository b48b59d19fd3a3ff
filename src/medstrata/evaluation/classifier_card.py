"""What a fine-tuned classifier is, in words for who opens its folder."""

from typing import Any

from medstrata.runtime.markdown import escaped

NOTICE = "Research software, not a medical device: not for diagnosis or treatment."
_ACTIVATIONS: dict[str, str] = {
    "binary": "Their sigmoid is the probability of the second class.",
    "multilabel": "Their sigmoids are the probabilities of the labels.",
    "multiclass": "Their softmax gives the probabilities of the classes.",
    "ordinal": "Sigmoid k is the probability of a grade above k; differences give each grade's.",
}


def classifier_card(model: dict[str, Any]) -> str:
    """The README.md of a classifier, from what its model.json holds."""
    task, head = model["task"], model["head"]
    lines = [
        f"# {escaped(task['name'])}: a {task['kind']} classifier",
        "",
        f"**{NOTICE}**",
        "",
        f"A linear layer on the {head['weight'][1]} pooled features of a {model['architecture']} "
        f"(timm's name), fitted by medstrata. Classes: {', '.join(map(escaped, task['classes']))}.",
        "",
    ]
    points = model["thresholds"]["values"]
    if points:
        lines += [
            "Thresholds by Youden's J on the validation images, which flatters them there:",
            "",
            "| class | threshold | sensitivity | specificity | positives | negatives |",
            "|---|---|---|---|---|---|",
            *(
                f"| {escaped(name)} | {point['threshold']:.4f} | {_share(point['sensitivity'])} | "
                f"{_share(point['specificity'])} | {point['positives']} | {point['negatives']} |"
                for name, point in points.items()
            ),
            "",
        ]
    standardise = " The features are standardised first: (features - mean) / std."
    lines += [
        "Logits are `features @ weight.T + bias`, with the tensors of head.safetensors."
        + (standardise if "mean" in head else ""),
        _ACTIVATIONS[task["kind"]],
        "",
        "The features are those of "
        + ("backbone.safetensors" if model["encoder"] is None else escaped(model["encoder"]))
        + ", a state dict with timm's keys for `timm.create_model("
        + f'"{model["architecture"]}", num_classes=0, '
        + f"in_chans={model['preprocessing']['channels']})`. Input: model.json, `preprocessing`.",
    ]
    return "\n".join(lines) + "\n"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
