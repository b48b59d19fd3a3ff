"""The precisions that a run can be told; needs no torch, so that `--help` is quick."""

from typing import Literal

Precision = Literal["auto", "fp32", "bf16"]
