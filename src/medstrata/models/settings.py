"""The settings of an import, without a heavy import so that `--help` is quick."""

from dataclasses import dataclass
from typing import Literal

from medstrata.runtime.errors import require, require_choices


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """Which encoder of a weights file is taken, and what it expects of its input.

    Attributes:
        prefix: What the names of its tensors begin with; none recognises the layout.
        encoder: Which of several: `key`, `teacher`, `student`, `momentum`...; none takes the
            layout's default.
        in_channels: 1 or 3; none takes the file's.
        image_size: Side of the input in pixels; none takes what config.json beside the file says,
            else what timm names for the backbone.
        mean: Subtracted from values in 0..1, one or one a channel; none takes what config.json
            beside the file says, else the layout's own.
        std: Divides afterwards, likewise.
        arm: Name in tables; none takes the file's.
    """

    prefix: str | None = None
    encoder: str | None = None
    in_channels: Literal[1, 3] | None = None
    image_size: int | None = None
    mean: list[float] | None = None
    std: list[float] | None = None
    arm: str | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        sound = self.image_size is None or self.image_size >= 1
        require(sound, self, "image_size", "1 or more, or none")
        scale = "of values in 0..1; divide by 255 what is of values in 0..255"
        require(all(0 <= value <= 1 for value in self.mean or ()), self, "mean", scale)
        sound = all(0 < value <= 1 for value in self.std or ())
        require(sound, self, "std", f"above 0, {scale}")
