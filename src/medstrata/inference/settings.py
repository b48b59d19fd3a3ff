"""What the commands on new images can be told; the defaults are those of the commands."""

from dataclasses import dataclass, field

from medstrata.data.formats.read_settings import ReadSettings
from medstrata.data.prepare.settings import Fit
from medstrata.models.stages import STAGES
from medstrata.runtime.errors import require, require_choices

BATCH_SIZE = 256  # images at a time
_LAYERS = (*STAGES, "pooled", "all")


@dataclass(frozen=True, kw_only=True)
class EmbedSettings:
    """Which features are wanted, and how images are prepared for them.

    Attributes:
        stages: "pooled" (what a classifier reads), "stage1" to "stage4" (globally averaged), or
            "all" of them.
        image_size: Side in pixels; 0 takes that of a run, for others the store's, else 224.
        fit: For files, as in `prepare`.
        reading: For files, as in `prepare`; of several images of a file, ids end in "#" and the
            number.
        follow_links: Of a folder: read links that lead out of it, and enter links to folders.
        batch_size: Images at a time.
        strict: Fail when an image cannot be read, after everything else has been written.
        seed: Of the weights of `scratch`.
        workers: Decoding threads; by default one a core.
    """

    stages: tuple[str, ...] = ("pooled",)
    image_size: int = 0
    fit: Fit = "pad"
    reading: ReadSettings = field(default_factory=ReadSettings)
    follow_links: bool = False
    batch_size: int = BATCH_SIZE
    strict: bool = False
    seed: int = 0
    workers: int | None = None

    def __post_init__(self) -> None:
        require_choices(self)
        known = bool(self.stages) and set(self.stages) <= set(_LAYERS)
        require(known, self, "stages", f"one or more of {', '.join(_LAYERS)}")
        require(self.seed >= 0, self, "seed", "0 or more")
        require(self.image_size >= 0, self, "image_size", "0 or more")
        require(self.batch_size >= 1, self, "batch_size", "1 or more")
        require(self.workers is None or self.workers >= 1, self, "workers", "1 or more, or none")
