"""The network that full fine-tuning trains, and its weights on disk."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from medstrata.models.backbones import Backbone, Features
from medstrata.models.heads import LinearHead
from medstrata.runtime.errors import MedstrataError


class Classifier(nn.Module):
    """A backbone and a linear layer on its pooled features; the layer starts at zero."""

    def __init__(self, backbone: Backbone, outputs: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.embed_dim, outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def start_from(self, head: LinearHead) -> None:
        """Give the layer the weights of a read-out of the pooled features."""
        folded = head.folded()
        self.head.load_state_dict({"weight": folded.weight, "bias": folded.bias})

    def forward(self, images: Tensor) -> Tensor:
        """Logits, shape (B, outputs)."""
        features: Features = self.backbone(images)
        logits: Tensor = self.head(features.pooled)
        return logits


def load_tuned(backbone: Backbone, weights: Path) -> None:
    """Give a backbone the weights of a full fine-tuning.

    Raises:
        MedstrataError: the file is missing or damaged, or is of another network.
    """
    if not weights.is_file():
        raise MedstrataError(f"no fine-tuned weights at {weights}; fine-tune again to have them")
    try:
        backbone.model.load_state_dict(load_file(weights))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise MedstrataError(
            f"{weights} does not hold this network ({type(error).__name__}); fine-tune again"
        ) from error
