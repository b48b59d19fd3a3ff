"""The README of a classifier."""

import re

from medstrata.evaluation.classifier_card import classifier_card


def test_names_of_classes_are_text_in_the_readme() -> None:
    hostile = "</td><img src=x onerror=alert(1)> [x](http://e.vil) | b\n# head"
    model = {
        "task": {"name": hostile, "kind": "binary", "classes": ["no", hostile]},
        "head": {"weight": [1, 8]},
        "architecture": "test_resnet",
        "encoder": "../a`b",
        "preprocessing": {"channels": 1},
        "thresholds": {"values": {hostile: {
            "threshold": 0.5, "sensitivity": 1.0, "specificity": 1.0, "positives": 1,
            "negatives": 1,
        }}},
    }  # fmt: skip
    card = classifier_card(model)
    assert "<img" not in card
    assert "](http" not in card
    assert [line for line in card.splitlines() if line.startswith("# ")] == [card.splitlines()[0]]
    (row,) = (line for line in card.splitlines() if "| 0.5000 |" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
