"""The line that a validation is in metrics.jsonl."""

from typing import Any

from medstrata.evaluation.fit_result import validation_record


def record(**options: Any) -> dict[str, Any]:
    values = {"train_loss": 0.7, "val_loss": 0.6, "val_score": 0.8, "metric": "macro_auroc"}
    return validation_record(3, 30, {"lr": 0.1}, **{**values, **options})


def test_a_validation_says_what_was_tried_and_found() -> None:
    found = record()
    assert (found["event"], found["validation"], found["step"]) == ("epoch", 3, 30)
    assert found["lr"] == 0.1
    assert (found["train_loss"], found["val_score"], found["metric"]) == (0.7, 0.8, "macro_auroc")


def test_before_any_training_there_is_no_training_loss() -> None:
    assert "train_loss" not in record(train_loss=float("nan"))
