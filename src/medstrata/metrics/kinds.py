"""The kinds of task that a label column can pose; needs no array library."""

from typing import Literal

TaskKind = Literal["binary", "multiclass", "multilabel", "ordinal"]
