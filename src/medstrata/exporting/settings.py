"""What an export can be told, and the names of its targets; nothing heavy is imported here."""

from dataclasses import dataclass

GRAPHS = ("onnx", "torch-export")
TARGETS = ("timm", "torchvision", "huggingface", "monai", *GRAPHS)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What of an encoder is written; the defaults are those of the command.

    Attributes:
        stages: Whether an ONNX graph or program also gives the stage maps.
        with_preprocessing: Whether it takes uint8 pixels (B, H, W, C) and normalises them itself.
        head: Whether a fine-tuned run's head goes along, where the target holds one.
    """

    stages: bool = False
    with_preprocessing: bool = False
    head: bool = True


@dataclass(frozen=True, kw_only=True)
class CardStatements:
    """What only the user can know.

    Attributes:
        licence: Of the weights, such as apache-2.0.
        data_licence: Of the images they were trained on.
        author: Who made the weights.
        modality: What the images are, such as 'frontal chest X-ray'.
    """

    licence: str | None = None
    data_licence: str | None = None
    author: str | None = None
    modality: str | None = None
