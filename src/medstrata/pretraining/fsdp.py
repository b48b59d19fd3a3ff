"""Weights split over the processes, for transformers that do not fit on one device (FSDP)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from medstrata.models.backbones import Backbone
from medstrata.pretraining.moco import MoCo
from medstrata.runtime.errors import MedstrataError

# Checkpoints hold whole tensors, so that a run may go on with another number of processes.
_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_FROM_MAIN = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def shard(model: MoCo, device: torch.device, processes: int) -> None:
    """Split weights, gradients and, made afterwards, optimizer state over the processes.

    Each transformer block of both encoders is gathered when it computes and let go of again; what
    is left of the model is gathered at its start. Query and key encoder are split alike, so that
    the momentum update needs no communication.

    Args:
        model: On its device already.
        device: Of this process.
        processes: How many share the weights.

    Raises:
        MedstrataError: there is one process, or the backbone has no blocks.
    """
    if processes < 2:
        raise MedstrataError(
            "--shard splits the weights over several processes; start them with torchrun"
        )
    mesh = init_device_mesh(device.type, (processes,))
    for encoder in (model.query_encoder, model.key_encoder):
        blocks = getattr(encoder.backbone.model, "blocks", None)
        if not isinstance(blocks, nn.Sequential | nn.ModuleList):
            raise MedstrataError("--shard is for vision transformers; this backbone has no blocks")
        for block in blocks:
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def full_state(
    model: MoCo, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Whole tensors of model and optimizer in the main process, nothing in the others.

    All processes must call this.
    """
    state = get_model_state_dict(model, options=_FULL)
    return state, get_optimizer_state_dict(model, optimizer, options=_FULL)


def load_full_state(
    model: MoCo,
    optimizer: torch.optim.Optimizer,
    model_state: Mapping[str, Any],
    optimizer_state: Mapping[str, Any],
) -> None:
    """Split what `full_state` gave over the processes again; all of them must call this.

    Args:
        model: Split by `shard`.
        optimizer: Made after that.
        model_state: Whole tensors in the main process; what the others give is not read.
        optimizer_state: Likewise.
    """
    set_model_state_dict(model, dict(model_state), options=_FROM_MAIN)
    set_optimizer_state_dict(model, optimizer, dict(optimizer_state), options=_FROM_MAIN)


def copy_full_weights(sharded: Backbone, full: Backbone) -> None:
    """Bring an unsplit backbone up to date in the main process; all processes must call this."""
    state = get_model_state_dict(sharded, options=_FULL)
    if state:
        full.load_state_dict(state)
