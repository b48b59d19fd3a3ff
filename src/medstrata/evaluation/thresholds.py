"""How the probabilities of a classifier become classes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medstrata.data.labels import Task
from medstrata.evaluation.result_tables import predicted_classes
from medstrata.metrics.threshold import OperatingPoint, youden


def choose_thresholds(
    task: Task, rows: NDArray[np.int64], probability: NDArray[np.float32]
) -> dict[str, Any]:
    """How probabilities become classes, decided on the validation images, as it is written down.

    Args:
        task: With the answers.
        rows: The validation images, shape (N,).
        probability: Of them, shape (N, columns).
    """
    if task.kind in ("multiclass", "ordinal"):
        return {"rule": "largest", "chosen_on": "validation", "values": {}}
    targets = task.targets[rows].reshape(len(rows), -1)
    points: dict[str, OperatingPoint] = {}
    for column, name in enumerate(predicted_classes(task)):
        labelled = ~np.isnan(targets[:, column])
        points[name] = youden(targets[labelled, column] == 1, probability[labelled, column])
    values = {name: point._asdict() for name, point in points.items()}
    return {"rule": "youden", "chosen_on": "validation", "values": values}
