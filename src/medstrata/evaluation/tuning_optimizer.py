"""The optimizer of full fine-tuning, its rates layer by layer."""

import torch
from timm.optim import param_groups_layer_decay

from medstrata.evaluation.settings import FinetuneSettings
from medstrata.evaluation.tuned_network import Classifier


def make_optimizer(
    model: Classifier, lr: float, settings: FinetuneSettings
) -> torch.optim.Optimizer:
    """The optimizer of a learning rate; with a layer decay, lower layers have lower ones."""
    if settings.optimizer == "adam":
        return torch.optim.Adam(model.parameters(), lr=lr, weight_decay=settings.weight_decay)
    groups = param_groups_layer_decay(
        model.backbone.model, settings.weight_decay, layer_decay=settings.layer_decay
    )
    groups = [{**group, "lr": lr * group.pop("lr_scale")} for group in groups]
    head = {"params": list(model.head.parameters()), "weight_decay": settings.weight_decay}
    return torch.optim.AdamW([*groups, head], lr=lr)
