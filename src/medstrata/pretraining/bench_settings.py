"""What `medstrata bench` is told; nothing heavy is imported here, so that `--help` is quick."""

from collections.abc import Sequence
from dataclasses import dataclass

from medstrata.pretraining.recipes import FAIR_ARMS, require_recipe
from medstrata.runtime.errors import require, require_choices


@dataclass(frozen=True, kw_only=True)
class BenchSettings:
    """What `medstrata bench` measures.

    Attributes:
        backbone: timm's name.
        size: Side of the views, pixels.
        batch_size: Images a step.
        recipes: Names of recipes; they take turns.
        steps: Timed steps of each, fewer where they take long.
        store: A store to take images from; none makes some.
        images: Images of the run whose hours are estimated; none takes the store's, or 100,000.
        epochs: Its epochs; none takes the recipe's length.
    """

    backbone: str = "resnet50"
    size: int = 224
    batch_size: int = 32
    recipes: Sequence[str] = FAIR_ARMS
    steps: int = 5
    store: str | None = None
    images: int | None = None
    epochs: int | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        for name in ("size", "batch_size", "steps", "images", "epochs"):
            value = getattr(self, name)
            require(value is None or value >= 1, self, name, "1 or more")
        for name in self.recipes:
            require_recipe(name)
