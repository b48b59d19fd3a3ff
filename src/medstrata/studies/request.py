"""What a study of one's own images is wanted of; nothing heavy is imported here."""

from dataclasses import dataclass, field

from medstrata.data.prepare.settings import PrepareSettings
from medstrata.data.view_settings import Modality


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a study is wanted of.

    Attributes:
        source: Store, its address, or folder of images.
        prepare: How a folder becomes a store.
        task: What is predicted; none takes the first label column.
        modality: What the images show; recipes bring its views.
        weights: Of an encoder to compare with and to go on from: `imagenet`, `imagenet=FILE`, a
            weights file or a run; none leaves both arms out.
        backbone: timm's name of the network; none leaves it to the budget.
        budget: Seconds that the study may take.
        allow_leakage: Go on where the same patient or image is in two splits.
    """

    source: str
    prepare: PrepareSettings = field(default_factory=PrepareSettings)
    task: str | None = None
    modality: Modality | None = None
    weights: str | None = None
    backbone: str | None = None
    budget: float = 3600.0
    allow_leakage: bool = False

    def __str__(self) -> str:
        """What was asked for beyond the defaults, in a line."""
        named = _changed(self, Request(source="")) | _changed(self.prepare, PrepareSettings())
        named.pop("prepare", None)
        return " ".join(f"{name}={value}" for name, value in named.items())


def _changed(settings: object, defaults: object) -> dict[str, object]:
    return {name: value for name, value in vars(settings).items() if value != vars(defaults)[name]}
