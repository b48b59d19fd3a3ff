"""The trackers that a run can be told of; imports none, so that `--help` is quick."""

from typing import Literal

Tracker = Literal["tensorboard", "wandb", "mlflow"]
